// Predict with an exported model in a browser, from its model.json: the same steps as
// mnv2_mm/runtime/preprocess.py, masks.py and model.py. drawImage of a canvas resizes
// otherwise than OpenCV, by which boxes move.
import * as ort from './ort.wasm.bundle.min.mjs';

const TASKS = ['det', 'seg', 'cls'], BOX = ['x0', 'y0', 'x1', 'y1', 'score'];
const isCount = (x) => Number.isInteger(x) && x > 0 && x <= 4096;
const isList = (x, n, test) => Array.isArray(x) && (!n || x.length === n) && x.every(test);
const isStep = (s) => s.do === 'crop_middle' ? isList(s.size, 2, isCount)
  : s.do === 'crop_share' || s.do === 'crop_square' ? s.share > 0 && s.share <= 1
  : s.interpolation === 'bilinear' && (s.do === 'resize' ? isList(s.size, 2, isCount)
    : s.do === 'resize_short' && isCount(s.side));

// Throw unless a model.json is what this page can run.
export function check(info) {
  const need = (good, key) => {
    if (!good) throw new Error(`model.json: "${key}" is not what this page runs; export again`);
  };
  const isByte = (x) => Number.isInteger(x) && x >= 0 && x <= 255;
  need(info?.format === 2, 'format');
  need(TASKS.includes(info.task), 'task');
  need(info.backend === 'onnxruntime', 'backend');
  need(isList(info.files, 1, (f) => /^\w[\w .()+-]*$/.test(f.name) && f.bytes > 0), 'files');
  need(isList(info.classes, 0, (x) => typeof x === 'string') && info.classes.length, 'classes');
  need(isList(info.palette, info.classes.length, (c) => isList(c, 3, isByte)), 'palette');
  need(typeof info.input?.name === 'string' && (info.input.layout ?? 'NCHW') === 'NCHW', 'input');
  const spec = info.preprocessing ?? {}, outputs = info.outputs;
  need(isList(spec.steps, 0, isStep), 'preprocessing.steps');
  need(['RGB', 'BGR'].includes(spec.color_order), 'preprocessing.color_order');
  need(isList(spec.mean, 3, Number.isFinite), 'preprocessing.mean');
  need(isList(spec.std, 3, (x) => x > 0), 'preprocessing.std');
  need(spec.pad_to === null || isList(spec.pad_to, 2, isCount), 'preprocessing.pad_to');
  need(isCount(spec.pad_multiple), 'preprocessing.pad_multiple');
  need(Number.isFinite(spec.pad_value), 'preprocessing.pad_value');
  need(isList(outputs, info.task === 'det' ? 2 : 1, (x) => typeof x.name === 'string'), 'outputs');
  if (info.task === 'det') {
    need(String(outputs[0].columns) === String(BOX), 'outputs.columns');
    need(outputs[0].box_unit === 'input_pixel' && isByte(outputs[1].first_label), 'outputs');
  }
  const flags = ['resize', 'argmax', 'align_corners'];
  need(info.task !== 'seg' || flags.every((k) => typeof info.ending?.[k] === 'boolean'), 'ending');
}

// Bilinear, bit by bit as OpenCV: weights of 11 bits. pixels: {data (RGBA), width, height}.
function resize({ data, width, height }, columns, rows) {
  if (columns < 1 || rows < 1) throw new Error('the image is too narrow; crop it');
  const taps = (from, to, clamped) => Array.from({ length: to }, (_, i) => {
    const place = Math.fround((i + 0.5) * (from / to) - 0.5), low = Math.floor(place);
    const part = clamped && (low < 0 || low >= from - 1) ? 0 : Math.fround(place - low);
    return [Math.max(Math.min(low, from - 1), 0), Math.min(low + 1, from - 1),
      even(Math.fround(1 - part) * 2048), even(part * 2048)];
  });
  const across = taps(width, columns, true), result = new Uint8ClampedArray(4 * columns * rows);
  let at = 0;
  for (const [top, bottom, above, below] of taps(height, rows, false)) {
    for (const [left, right, before, after] of across) {
      const a = 4 * (top * width + left), b = 4 * (top * width + right);
      const c = 4 * (bottom * width + left), d = 4 * (bottom * width + right);
      for (let k = 0; k < 3; k++) {
        const high = ((data[a + k] * before + data[b + k] * after) >> 4) * above;
        const low = ((data[c + k] * before + data[d + k] * after) >> 4) * below;
        result[at + k] = ((high >> 16) + (low >> 16) + 2) >> 2;
      }
      at += 4;
    }
  }
  return { data: result, width: columns, height: rows };
}

// Round a half to the even neighbor, as Python does.
function even(x) {
  const low = Math.floor(x);
  return x - low === 0.5 ? low + (low & 1) : Math.round(x);
}

function crop({ data, width }, left, top, columns, rows) {
  const result = new Uint8ClampedArray(4 * columns * rows);
  for (let y = 0; y < rows; y++) {
    const start = 4 * ((top + y) * width + left);
    result.set(data.subarray(start, start + 4 * columns), 4 * y * columns);
  }
  return { data: result, width: columns, height: rows };
}

function apply(image, step) {
  const { width: w, height: h } = image, short = Math.min(w, h);
  if (step.do === 'crop_share') {
    const [left, top] = [w, h].map((side) => Math.trunc((side - side * step.share) / 2));
    return crop(image, left, top, w - 2 * left, h - 2 * top);
  }
  if (step.do === 'crop_square') {
    const side = step.share * short, ends = [w, h].map((all) => {
      const start = Math.max(0, even((all - side) / 2));
      return [start, Math.min(Math.trunc(start + side - 1), all - 1) + 1 - start];
    });
    return crop(image, ends[0][0], ends[1][0], ends[0][1], ends[1][1]);
  }
  if (step.do === 'resize_short') {
    return resize(image, ...[w, h].map((side) => Math.trunc((step.side * side) / short)));
  }
  let [columns, rows] = step.size;
  if (step.do === 'crop_middle') {
    const left = Math.max(0, even((w - columns) / 2)), top = Math.max(0, even((h - rows) / 2));
    return crop(image, left, top, Math.min(columns, w - left), Math.min(rows, h - top));
  }
  if (step.keep_ratio) {
    const scale = Math.min(Math.max(columns, rows) / Math.max(w, h), Math.min(columns, rows) / short);
    [columns, rows] = [Math.trunc(w * scale + 0.5), Math.trunc(h * scale + 0.5)];
  }
  return resize(image, columns, rows);
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
        const value = data[4 * (y * width + x) + channel];
        input[(c * H + y) * W + x] = (value - spec.mean[c]) / spec.std[c];
      }
    }
  }
  return { tensor: new ort.Tensor('float32', input, [1, 3, H, W]), inside, W, H };
}

// Index and weight of two old pixels for each new one, as torch interpolates.
function interpolation(old, size, corners) {
  return Array.from({ length: size }, (_, i) => {
    const place = corners ? (i * (old - 1)) / Math.max(size - 1, 1)
      : Math.max(0, (i + 0.5) * (old / size) - 0.5);
    const low = Math.min(Math.floor(place), old - 1);
    return [[low, 1 - (place - low)], [Math.min(low + 1, old - 1), place - low]];
  });
}

// From logits to the network input, without its padding, to the image: four old pixels.
function taps(logits, input, inside, size, corners) {
  const first = interpolation(logits, input, corners);
  return interpolation(inside, size, corners).map((pair) => pair.flatMap(
    ([at, weight]) => first[at].map(([index, part]) => [index, weight * part])));
}

// Classes of the image's pixels from logits (1, C, h, w), or from classes (1, 1, h, w).
function toMask({ data, dims }, { inside, W, H }, image, ending) {
  const [C, h, w] = dims.slice(1), mask = new Uint16Array(image.width * image.height);
  if (ending.argmax) {
    const nearest = (old, size, i) => Math.min(Math.floor(i * Math.fround(old / size)), old - 1);
    return mask.map((_, at) => {
      const row = nearest(inside.height, image.height, Math.floor(at / image.width));
      return Number(data[row * w + nearest(inside.width, image.width, at % image.width)]);
    });
  }
  const [rows, columns] = [[h, H, inside.height, image.height], [w, W, inside.width, image.width]]
    .map(([from, input, ...to]) => taps(from, ending.resize ? from : input, ...to, ending.align_corners)
      .map((four) => four.filter(([, weight]) => weight)));
  const line = new Float32Array(w * C), values = new Float32Array(C);
  rows.forEach((row, y) => {
    line.fill(0);
    for (const [index, weight] of row) {
      for (let c = 0; c < C; c++) {
        for (let x = 0; x < w; x++) line[x * C + c] += weight * data[(c * h + index) * w + x];
      }
    }
    columns.forEach((column, x) => {
      values.fill(0);
      for (const [index, weight] of column) {
        for (let c = 0; c < C; c++) values[c] += weight * line[index * C + c];
      }
      let best = 0;
      for (let c = 1; c < C; c++) if (values[c] > values[best]) best = c;
      mask[y * image.width + x] = best;
    });
  });
  return mask;
}

// A function: pixels {data (RGBA), width, height} -> {boxes, scores, labels}, {mask} or
// {probabilities}, and ms of the network. `model`: bytes of the .onnx file.
export async function load(info, model) {
  check(info);
  ort.env.wasm.numThreads = 1;  // more need headers that a plain web server does not send
  ort.env.wasm.wasmPaths = { wasm: new URL('ort-wasm-simd-threaded.wasm', import.meta.url).href };
  const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'] });
  return async (image) => {
    const input = prepare(image, info.preprocessing), started = performance.now();
    const outputs = await session.run({ [info.input.name]: input.tensor });
    const ms = performance.now() - started;
    const [first, labels] = info.outputs.map(({ name }) => outputs[name]);
    if (info.task === 'cls') return { ms, probabilities: Array.from(first.data) };
    if (info.task === 'seg') return { ms, mask: toMask(first, input, image, info.ending) };
    const x = image.width / input.inside.width, y = image.height / input.inside.height;
    const found = { ms, boxes: [], scores: [], labels: [] };
    for (let i = 0; i < labels.data.length; i++) {
      const row = first.data.subarray(5 * i, 5 * i + 5);
      if (!(row[4] > 0) || !row.every(Number.isFinite)) continue;  // fills the constant number
      found.boxes.push([row[0] * x, row[1] * y, row[2] * x, row[3] * y]);
      found.scores.push(row[4]);
      found.labels.push(Number(labels.data[i]) - info.outputs[1].first_label);
    }
    return found;
  };
}
