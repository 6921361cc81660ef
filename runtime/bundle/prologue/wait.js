// Beside secrets.js in CommonJS bundles.

// __sst_wait runs __sst_secrets in a thread and stops this one meanwhile: CommonJS cannot await before its modules run.
function __sst_wait(require, env) {
  const { MessageChannel, Worker, receiveMessageOnPort } = require("node:worker_threads");
  const { port1, port2 } = new MessageChannel();
  const done = new globalThis.Int32Array(new globalThis.SharedArrayBuffer(4));
  const worker = new Worker(`
    const { workerData: { env, port, done } } = require("node:worker_threads");
    (${__sst_secrets})(require, env).then((set) => ({ set }), (err) => ({ error: err.message })).then((message) => {
      port.postMessage(message);
      Atomics.store(done, 0, 1);
      Atomics.notify(done, 0);
    });`, { eval: true, execArgv: [], workerData: { env: { ...env }, port: port2, done }, transferList: [port2] });
  worker.unref();
  globalThis.Atomics.wait(done, 0, 0);
  const { message: { set, error } } = receiveMessageOnPort(port1);
  port1.close();
  if (error) throw new globalThis.Error(error);
  return set;
}
