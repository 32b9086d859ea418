// Predict with an exported model in a browser, from its model.json: the same steps as
// mnv2_mm/runtime/preprocess.py, masks.py and model.py. The drawImage of a canvas resizes
// otherwise than OpenCV, by which boxes move.
import * as ort from './ort.wasm.bundle.min.js';

// Throw unless a model.json is what this page can run.
export function check(info) {
  const isText = (x) => typeof x === 'string', isByte = (x) => Number.isInteger(x) && x >= 0 && x <= 255;
  const isSide = (x) => Number.isInteger(x) && x > 0 && x <= 4096;
  const isList = (x, n, test) => Array.isArray(x) && x.length === n && x.every(test);
  const isPair = (x) => isList(x, 2, isSide);
  const isStep = (s) => (s.do === 'crop_share' && s.share > 0 && s.share <= 1) || (s.do === 'crop_middle' && isPair(s.size))
    || (s.interpolation === 'bilinear' && ((s.do === 'resize' && isPair(s.size)) || (s.do === 'resize_short' && isSide(s.side))));
  const { task, preprocessing: spec = {}, outputs, ending, classes } = info ?? {}, boxes = task === 'det';
  const rules = {
    format: info?.format === 2,
    task: ['det', 'seg', 'cls'].includes(task),
    backend: info?.backend === 'onnxruntime',
    files: isList(info?.files, 1, (f) => /^\w[\w .()+-]*$/.test(f.name) && f.bytes > 0 && isText(f.sha256)),
    classes: isList(classes, classes?.length || 1, isText),
    palette: isList(info?.palette, classes?.length, (color) => isList(color, 3, isByte)),
    input: isText(info?.input?.name) && (info.input.layout ?? 'NCHW') === 'NCHW',
    steps: isList(spec.steps, spec.steps?.length, isStep),
    color_order: ['RGB', 'BGR'].includes(spec.color_order),
    mean: isList(spec.mean, 3, Number.isFinite),
    std: isList(spec.std, 3, (x) => x > 0),
    pad_to: spec.pad_to === null || isPair(spec.pad_to),
    pad_multiple: isSide(spec.pad_multiple),
    pad_value: Number.isFinite(spec.pad_value),
    outputs: isList(outputs, boxes ? 2 : 1, (x) => isText(x.name)) && (!boxes || (isByte(outputs[1].first_label)
      && outputs[0].box_unit === 'input_pixel' && String(outputs[0].columns) === 'x0,y0,x1,y1,score')),
    ending: task !== 'seg' || (ending?.resize === false && ending.argmax === false && typeof ending.align_corners === 'boolean'),
  };
  const wrong = Object.keys(rules).filter((key) => !rules[key]);
  if (wrong.length) throw new Error(`model.json: this page does not run this "${wrong.join('", "')}"; export again`);
}

// Round a half to the even neighbor, as Python and OpenCV do.
function even(x) {
  const low = Math.floor(x);
  return x - low === 0.5 ? low + (low & 1) : Math.round(x);
}

// Bilinear, bit by bit as OpenCV: weights of 11 bits. An image is {data (RGBA), width, height}.
function resize({ data, width, height }, columns, rows) {
  if (columns < 1 || rows < 1) throw new Error('The image is too narrow; crop it');
  const taps = (from, to, clamped) => Array.from({ length: to }, (_, i) => {
    const place = Math.fround((i + 0.5) * (from / to) - 0.5), low = Math.floor(place);
    const part = clamped && (low < 0 || low >= from - 1) ? 0 : Math.fround(place - low);
    const near = [low, low + 1].map((at) => Math.max(0, Math.min(at, from - 1)));
    return [...near, even(Math.fround(1 - part) * 2048), even(part * 2048)];
  });
  const across = taps(width, columns, true), result = new Uint8ClampedArray(4 * columns * rows);
  let at = 0;
  for (const [top, bottom, above, below] of taps(height, rows, false)) {
    for (const [left, right, before, after] of across) {
      const mix = (row, k) => (data[4 * (row * width + left) + k] * before + data[4 * (row * width + right) + k] * after) >> 4;
      for (let k = 0; k < 3; k++) result[at + k] = (((mix(top, k) * above) >> 16) + ((mix(bottom, k) * below) >> 16) + 2) >> 2;
      at += 4;
    }
  }
  return { data: result, width: columns, height: rows };
}

function crop({ data, width }, left, top, columns, rows) {
  const result = new Uint8ClampedArray(4 * columns * rows);
  for (let y = 0; y < rows; y++) {
    const start = 4 * ((top + y) * width + left);
    result.set(data.subarray(start, start + 4 * columns), 4 * y * columns);
  }
  return { data: result, width: columns, height: rows };
}

// One of preprocessing.steps.
function apply(image, step) {
  const { width: w, height: h } = image, short = Math.min(w, h);
  if (step.do === 'crop_share') {
    const [left, top] = [w, h].map((side) => Math.trunc((side - side * step.share) / 2));
    return crop(image, left, top, w - 2 * left, h - 2 * top);
  }
  if (step.do === 'resize_short') return resize(image, ...[w, h].map((side) => Math.trunc((step.side * side) / short)));
  const [columns, rows] = step.size;
  if (step.do === 'crop_middle') {
    const left = Math.max(0, even((w - columns) / 2)), top = Math.max(0, even((h - rows) / 2));
    return crop(image, left, top, Math.min(columns, w - left), Math.min(rows, h - top));
  }
  if (!step.keep_ratio) return resize(image, columns, rows);
  const scale = Math.min(Math.max(columns, rows) / Math.max(w, h), Math.min(columns, rows) / short);
  return resize(image, ...[w, h].map((side) => Math.trunc(side * scale + 0.5)));
}

// The network input (1, 3, H, W), and the part of it that is not padding.
function prepare(image, spec) {
  const inside = spec.steps.reduce(apply, image), { data, width, height } = inside;
  const [W, H] = [width, height].map((side, i) => spec.pad_multiple
    * Math.ceil(Math.max(side, spec.pad_to?.[i] ?? 0) / spec.pad_multiple));
  const input = new Float32Array(3 * H * W).fill(spec.pad_value);
  for (let c = 0; c < 3; c++) {
    const channel = spec.color_order === 'RGB' ? c : 2 - c;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        input[(c * H + y) * W + x] = (data[4 * (y * width + x) + channel] - spec.mean[c]) / spec.std[c];
      }
    }
  }
  return { tensor: new ort.Tensor('float32', input, [1, 3, H, W]), inside, W, H };
}

// Index and weight of two old pixels for each new one, as torch interpolates.
function interpolation(old, size, corners) {
  return Array.from({ length: size }, (_, i) => {
    const place = corners ? (i * (old - 1)) / Math.max(size - 1, 1) : Math.max(0, (i + 0.5) * (old / size) - 0.5);
    const low = Math.min(Math.floor(place), old - 1);
    return [[low, 1 - (place - low)], [Math.min(low + 1, old - 1), place - low]];
  });
}

// The same from logits to the network input, without its padding, to the image: four pixels.
function taps(logits, input, inside, size, corners) {
  const first = interpolation(logits, input, corners);
  return interpolation(inside, size, corners).map((pair) => pair.flatMap(
    ([at, weight]) => first[at].map(([index, part]) => [index, weight * part])));
}

// Class of each pixel of the image from logits (1, C, h, w).
function toMask({ data, dims }, { inside, W, H }, image, corners) {
  const [C, h, w] = dims.slice(1), mask = new Uint16Array(image.width * image.height);
  const rows = taps(h, H, inside.height, image.height, corners), columns = taps(w, W, inside.width, image.width, corners);
  const line = new Float32Array(w * C), values = new Float32Array(C);
  rows.forEach((row, y) => {
    line.fill(0);
    for (const [index, weight] of row) {
      for (let c = 0; c < C; c++) for (let x = 0; x < w; x++) line[x * C + c] += weight * data[(c * h + index) * w + x];
    }
    columns.forEach((column, x) => {
      values.fill(0);
      for (const [index, weight] of column) for (let c = 0; c < C; c++) values[c] += weight * line[index * C + c];
      let best = 0;
      for (let c = 1; c < C; c++) if (values[c] > values[best]) best = c;
      mask[y * image.width + x] = best;
    });
  });
  return mask;
}

// From the bytes of the .onnx file, a function: image -> {boxes, scores, labels}, {mask} or
// {probabilities}, and ms of the network.
export async function load(info, model) {
  check(info);
  ort.env.wasm.numThreads = 1;  // more need headers that a plain web server does not send
  ort.env.wasm.wasmPaths = { wasm: new URL('ort-wasm-simd-threaded.wasm', import.meta.url).href };
  const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'] });
  return async (image) => {
    const input = prepare(image, info.preprocessing), started = performance.now();
    const outputs = await session.run({ [info.input.name]: input.tensor });
    const ms = performance.now() - started, [first, labels] = info.outputs.map(({ name }) => outputs[name]);
    const classes = info.task === 'det' ? Math.max(...Array.from(labels.data, Number)) + 1 : first.dims[1];
    if (classes !== info.classes.length && !(info.task === 'det' && classes < info.classes.length)) {
      throw new Error('The network has other classes than model.json states; export again');
    }
    if (info.task === 'cls') return { ms, probabilities: Array.from(first.data) };
    if (info.task === 'seg') return { ms, mask: toMask(first, input, image, info.ending.align_corners) };
    const x = image.width / input.inside.width, y = image.height / input.inside.height;
    const found = { ms, boxes: [], scores: [], labels: [] };
    labels.data.forEach((label, i) => {
      const row = first.data.subarray(5 * i, 5 * i + 5);
      if (!(row[4] > 0) || !row.every(Number.isFinite)) return;  // fills the constant number
      found.boxes.push([row[0] * x, row[1] * y, row[2] * x, row[3] * y]);
      found.scores.push(row[4]);
      found.labels.push(Number(label) - info.outputs[1].first_label);
    });
    return found;
  };
}
