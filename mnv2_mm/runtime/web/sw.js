// Keep the files of the page for use without a network.
const SCOPE = `mnv2 ${registration.scope} `;  // other pages of the same server have others
const NAME = `${SCOPE}VERSION`, FILES = ['FILES'];

addEventListener('install', (event) => event.waitUntil((async () => {
  const cache = await caches.open(NAME);
  await cache.addAll(FILES.map((file) => new Request(file, { cache: 'reload' })));
  await skipWaiting();
})()));

addEventListener('activate', (event) => event.waitUntil((async () => {
  const old = (await caches.keys()).filter((name) => name.startsWith(SCOPE) && name !== NAME);
  await Promise.all(old.map((name) => caches.delete(name)));
  await clients.claim();
})()));

addEventListener('fetch', (event) => event.respondWith((async () =>
  (await (await caches.open(NAME)).match(event.request, { ignoreSearch: true })) ?? fetch(event.request)
)()));
