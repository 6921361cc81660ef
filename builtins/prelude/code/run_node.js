// Runs the handler of an sst.Job in CodeBuild, as Lambda would: node -e <this>, in the folder of the bundle.
const { existsSync } = require('fs');
const { pathToFileURL } = require('url');
const { resolve } = require('path');

(async () => {
  const handler = process.env.SST_HANDLER;
  const dot = handler.indexOf('.', handler.lastIndexOf('/') + 1);
  const file = ['.mjs', '.cjs', '.js'].map((e) => resolve(handler.slice(0, dot) + e)).find(existsSync);
  let found = await import(pathToFileURL(file));
  for (const name of handler.slice(dot + 1).split('.')) found = found[name];
  const end = Date.now() + Number(process.env.SST_TIMEOUT) * 1000;
  const context = {
    functionName: process.env.SST_JOB,
    awsRequestId: process.env.CODEBUILD_BUILD_ID,
    getRemainingTimeInMillis: () => end - Date.now(),
  };
  await found(JSON.parse(process.env.SST_PAYLOAD || '{}'), context);
  process.exit(0);
})().catch((e) => {
  console.error(e);
  process.exit(1);
});
