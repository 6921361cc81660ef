// What a deployed Node bundle begins with (prologue.go puts it there, without its white space): the environment of a function carries
// the names of its secrets, this fetches their values from SSM and completes SST_RESOURCE_<Id> before any module of the bundle runs.
//
// It stands beside code of the user's, so it uses no name of theirs: everything global is reached through globalThis, and `require` is
// that of the bundle. __sst_secrets is also run as text in a thread of its own, so it refers to nothing outside of itself.

// __sst_secrets gives the variables to set. It fails with one message that names every secret without a value.
async function __sst_secrets(require, env) {
  const { JSON, Object, Date, URL, Error, Promise } = globalThis;
  const { createHash, createHmac } = require("node:crypto");

  const wanted = [];
  for (const key of Object.keys(env)) {
    if (!key.startsWith("SST_RESOURCE_") || !env[key].includes('"sst.Secret"')) continue;
    const resource = JSON.parse(env[key]);
    if (resource.type !== "sst.Secret" || resource.value !== undefined) continue;
    const [, app, stage, id] = /^\/sst\/([^/]+)\/([^/]+)\/Secret\/([^/]+)\/value$/.exec(resource.name) ?? [];
    wanted.push({ key, resource, stage, fallback: app && `/sst/${app}/.fallback/Secret/${id}/value` });
  }

  const region = env.AWS_REGION;
  const address = new URL(env.AWS_ENDPOINT_URL_SSM || env.AWS_ENDPOINT_URL ||
    `https://ssm.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`);

  // signed gives the headers of a request as AWS wants them signed (Signature Version 4).
  function signed(body) {
    const hash = (text) => createHash("sha256").update(text).digest("hex");
    const hmac = (key, text) => createHmac("sha256", key).update(text).digest();
    const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
    const headers = {
      "content-type": "application/x-amz-json-1.1",
      "host": address.host,
      "x-amz-date": time,
      ...(env.AWS_SESSION_TOKEN && { "x-amz-security-token": env.AWS_SESSION_TOKEN }),
      "x-amz-target": "AmazonSSM.GetParameters",
    };
    const names = Object.keys(headers).join(";");
    const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`).join("");
    const scope = `${time.slice(0, 8)}/${region}/ssm/aws4_request`;
    const request = `POST\n${address.pathname}\n\n${lines}\n${names}\n${hash(body)}`;
    const key = scope.split("/").reduce(hmac, "AWS4" + env.AWS_SECRET_ACCESS_KEY);
    const signature = hmac(key, `AWS4-HMAC-SHA256\n${time}\n${scope}\n${hash(request)}`).toString("hex");
    headers.authorization = `AWS4-HMAC-SHA256 Credential=${env.AWS_ACCESS_KEY_ID}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
    return headers;
  }

  // call asks for at most ten parameters. A start lasts at most ten seconds, so what may pass is tried for five.
  async function call(names) {
    const body = JSON.stringify({ Names: names, WithDecryption: true });
    for (let attempt = 0; ; attempt++) {
      let reason;
      let passing = true;
      try {
        const response = await globalThis.fetch(address, { method: "POST", body, headers: signed(body), signal: globalThis.AbortSignal.timeout(3000) });
        const text = await response.text();
        if (response.ok) return JSON.parse(text).Parameters;
        passing = response.status >= 500 || /Throttling|TooManyRequests/.test(text);
        reason = text;
        try {
          const { __type, message, Message } = JSON.parse(text);
          reason = `${__type}: ${message ?? Message}`;
        } catch { /* then as it is */ }
      } catch (err) {
        reason = err.cause?.message || err.message;
      }
      if (!passing || attempt === 5) throw new Error(`The secrets of this function cannot be read from SSM. ${reason}`);
      await new Promise((done) => globalThis.setTimeout(done, 50 * 2 ** attempt * (1 + globalThis.Math.random())));
    }
  }

  const values = {};
  async function get(names) {
    const calls = [];
    for (let i = 0; i < names.length; i += 10) calls.push(call(names.slice(i, i + 10)));
    for (const parameter of (await Promise.all(calls)).flat()) values[parameter.Name] = parameter.Value;
  }
  const without = () => wanted.filter(({ resource, fallback }) => !(resource.name in values) && !(fallback in values));

  await get(wanted.map(({ resource }) => resource.name));
  await get(without().filter(({ fallback }) => fallback).map(({ fallback }) => fallback));
  const missing = without();
  if (missing.length > 0) {
    const id = ({ key }) => key.slice("SST_RESOURCE_".length);
    throw new Error(missing.map((one) => `The secret ${id(one)} has no value: there is no parameter ${one.resource.name}. ` +
      `Set it: sst secrets set ${id(one)}${one.stage ? ` --stage ${one.stage}` : ""}`).join("\n"));
  }
  return Object.fromEntries(wanted.map(({ key, resource, fallback }) =>
    [key, JSON.stringify({ ...resource, value: values[resource.name] ?? values[fallback] })]));
}
