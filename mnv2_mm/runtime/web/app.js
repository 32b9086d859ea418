// The page: camera or image in, drawing out. No pixel leaves the device.
const $ = (id) => document.getElementById(id);
const frame = document.createElement('canvas');  // the image as it is
const pixels = frame.getContext('2d', { willReadFrequently: true });
const view = $('view').getContext('2d');  // with what was found
const LARGEST = 16e6;  // pixels of a canvas on iPhones
let info, predict, found, stream = null, times = [], queue = Promise.resolve();

const say = (text) => { $('status').textContent = text; };
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const color = (label) => `rgb(${info.palette[label]})`;

async function fetched(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: ${answer.status}; copy the whole folder`);
  return answer.arrayBuffer();
}

// Keep all files for use without a network; they are then fetched once.
async function keepOffline() {
  const { installing } = await navigator.serviceWorker.register('sw.js');
  const failed = new Promise((done) => {
    installing?.addEventListener('statechange', () => installing.state === 'redundant' && done());
  });
  await Promise.race([navigator.serviceWorker.ready, failed]);
}

function draw() {
  Object.assign(view.canvas, { width: frame.width, height: frame.height });
  view.drawImage(frame, 0, 0);
  const threshold = Number($('threshold').value);
  $('shown').value = threshold.toFixed(2);
  const shown = found.boxes?.map((box, i) => [box, found.labels[i], found.scores[i]]).filter((row) => row[2] >= threshold);
  shown?.reverse().forEach((row) => drawBox(...row));  // the best on top
  const shares = found.mask ? drawMask(found.mask) : found.probabilities ?? [];
  const best = shares.map((share, label) => [label, share]).filter(([, share]) => share > 0);
  $('legend').replaceChildren(...best.sort((a, b) => b[1] - a[1]).slice(0, found.mask ? 24 : 5).map(([label, share]) => {
    const row = document.createElement('li');
    row.style.borderColor = color(label);
    row.textContent = `${info.classes[label]} ${(100 * share).toFixed(1)} %`;
    return row;
  }));
}

function drawBox([x0, y0, x1, y1], label, score) {
  const size = Math.max(12, Math.round(frame.width / 26)), text = `${info.classes[label]} ${score.toFixed(2)}`;
  view.font = `bold ${size}px sans-serif`;
  view.lineWidth = Math.max(2, size / 6);
  view.strokeStyle = view.fillStyle = color(label);
  view.strokeRect(x0, y0, x1 - x0, y1 - y0);
  const width = view.measureText(text).width + size / 2, top = Math.max(0, y0 - 1.3 * size);
  const left = Math.max(0, Math.min(x0, frame.width - width));
  view.fillRect(left, top, width, 1.3 * size);
  const [r, g, b] = info.palette[label].map((value) => (value / 255) ** 2.2);
  view.fillStyle = 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? '#000' : '#fff';
  view.fillText(text, left + size / 4, top + size);
}

function drawMask(mask) {
  const image = pixels.getImageData(0, 0, frame.width, frame.height);
  const counts = new Array(info.classes.length).fill(0);
  mask.forEach((label, i) => {
    counts[label] += 1;
    if (info.classes[label] === 'background') return;
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = (image.data[4 * i + c] + info.palette[label][c]) / 2;
  });
  view.putImageData(image, 0, 0);
  return counts.map((count) => count / mask.length);
}

// Predict for an image or a frame of the camera, and draw; one after the other.
function show(...image) {
  queue = queue.catch(() => {}).then(() => showNow(...image));
  return queue;
}

async function showNow(source, width, height) {
  const started = performance.now();
  Object.assign(frame, { width, height });
  pixels.drawImage(source, 0, 0);
  found = await predict(pixels.getImageData(0, 0, width, height));
  draw();
  const ended = performance.now();
  times = [...times.filter((t) => ended - t < 2000), ended];
  const rate = stream && times.length > 1 ? (1000 * (times.length - 1)) / (ended - times[0]) : 0;
  $('speed').textContent = `network ${found.ms.toFixed(0)} ms, all ${(ended - started).toFixed(0)} ms`
    + (rate ? `, ${rate.toFixed(1)} frames per second` : '');
  window.mnv2 = { found, frame };  // for scripts and tests
}

async function showFile() {
  const [file] = $('file').files;
  if (!file) return;
  stop();
  try {
    // no conversion of colors, like OpenCV; but a canvas makes transparent pixels black
    const image = await createImageBitmap(file, { colorSpaceConversion: 'none' }).catch(() => {
      throw new Error(`${file.name} is no image that this browser reads`);
    });
    if (image.width * image.height > LARGEST) throw new Error(`${file.name} has over 16 million pixels; reduce it`);
    await show(image, image.width, image.height);
    say(`${file.name}, ${image.width}x${image.height}`);
  } catch (error) { say(error.message); }
  $('file').value = '';  // the same file can be chosen again
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  times = [];
  $('camera').textContent = 'Camera';
}

async function startCamera() {
  stop();
  const id = $('cameras').value, video = $('video');
  const which = id ? { deviceId: { exact: id } } : { facingMode: { ideal: 'environment' } };
  try {
    if (!navigator.mediaDevices) {
      throw new Error('The camera needs an https address, or localhost: run "python -m http.server" in this folder and open http://localhost:8000');
    }
    const mine = await navigator.mediaDevices.getUserMedia({ video: { ...which, width: { ideal: 640 }, height: { ideal: 480 } } });
    stop();  // one that a second click has started
    stream = video.srcObject = mine;
    mine.getVideoTracks()[0].onended = () => {  // unplugged, or not allowed any more
      if (stream !== mine) return;
      stop();
      say('The camera has stopped; start it again, or choose an image');
    };
    $('camera').textContent = 'Stop';
    await video.play();
    await listCameras(mine.getVideoTracks()[0].getSettings().deviceId);
    say(`camera, ${video.videoWidth}x${video.videoHeight}`);
    while (stream === mine) {
      await show(video, video.videoWidth, video.videoHeight);
      await new Promise(requestAnimationFrame);  // stands still while the page is hidden
    }
  } catch (error) {
    stop();
    say({
      NotAllowedError: 'The camera is not allowed; allow it in the settings of the page',
      NotFoundError: 'There is no camera; choose an image',
    }[error.name] ?? (error.message || error.name));
  }
}

async function listCameras(current) {
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === 'videoinput');
  $('cameras').replaceChildren(...cameras.map(({ label, deviceId }, i) => new Option(label || `camera ${i + 1}`, deviceId)));
  $('cameras').value = current;
  $('cameras').hidden = cameras.length < 2;
}

async function modelFile({ name, bytes, sha256 }) {
  const data = await fetched(name);
  let digest = sha256;
  if (crypto.subtle) {  // only with https or on localhost
    const found = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
    digest = Array.from(found, (x) => x.toString(16).padStart(2, '0')).join('');
  }
  if (data.byteLength !== bytes || digest !== sha256) throw new Error(`${name} is not the file that model.json describes; copy the whole folder`);
  return new Uint8Array(data);
}

async function start() {
  if (typeof WebAssembly !== 'object') throw new Error('this browser has no WebAssembly; use a current one');
  say('Loading…');
  if (navigator.serviceWorker) await keepOffline().catch((error) => console.warn('not kept for use without a network:', error));
  const { check, load } = await import('./predict.js');
  info = JSON.parse(new TextDecoder().decode(await fetched('model.json')));
  check(info);
  predict = await load(info, await modelFile(info.files[0]));
  const runtime = (await fetched('ort-wasm-simd-threaded.wasm')).byteLength;
  $('sizes').textContent = `${info.config ?? 'model'}, ${info.precision}: model ${megabytes(info.files[0].bytes)}, runtime ${megabytes(runtime)}`;
  $('threshold').value = info.thresholds?.shown_score_thr ?? 0.3;
  $('scores').hidden = info.task !== 'det';
  $('file').onchange = showFile;
  $('camera').onclick = () => (stream ? stop() : startCamera());
  $('cameras').onchange = startCamera;
  $('threshold').oninput = () => found && draw();
  $('file').disabled = $('camera').disabled = false;
  say('Ready: choose an image, or start the camera.');
}

start().catch((error) => say(`Error: ${error.message}`));
