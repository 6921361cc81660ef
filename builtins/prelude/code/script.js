// The function behind sst.Script: it gets CloudFormation's requests, calls the user's function for each, and answers with what became of it.
const { LambdaClient, InvokeCommand } = require('@aws-sdk/client-lambda');

// One attempt: a script that ran twice is worse than one that failed. A call may take as long as a function may run.
const client = new LambdaClient({ maxAttempts: 1, requestHandler: { requestTimeout: 900000 } });

// The physical id of what never came to be, whose deletion calls nobody.
const FAILED = 'never-created';

exports.handler = async (event) => {
  const { RequestType, ResourceProperties: p, OldResourceProperties: old, StackId, RequestId, LogicalResourceId } = event;
  const answer = { Status: 'SUCCESS', StackId, RequestId, LogicalResourceId, PhysicalResourceId: event.PhysicalResourceId || LogicalResourceId };
  try {
    const name = p['on' + RequestType];
    if (name && event.PhysicalResourceId !== FAILED) {
      const payload = { type: RequestType.toLowerCase(), params: JSON.parse(p.params) };
      if (old) payload.previous = JSON.parse(old.params);
      await call(name, payload);
    }
  } catch (e) {
    answer.Status = 'FAILED';
    answer.Reason = String(e.message || e).slice(0, 1000);
    if (RequestType === 'Create') answer.PhysicalResourceId = FAILED;
  }
  // The address is a secret of this request, so it is not logged.
  await fetch(event.ResponseURL, { method: 'PUT', body: JSON.stringify(answer), headers: { 'content-type': '' } });
};

async function call(name, payload) {
  for (let i = 0; ; i++) {
    try {
      const { FunctionError, Payload } = await client.send(new InvokeCommand({ FunctionName: name, Payload: JSON.stringify(payload) }));
      if (!FunctionError) return;
      const text = Buffer.from(Payload).toString();
      let error = {};
      try { error = JSON.parse(text); } catch {}
      throw Object.assign(new Error(`${name}: ${error.errorMessage || text}`), { theirs: true });
    } catch (e) {
      // The right to call it is so young that not all of IAM knows of it.
      if (e.theirs || e.name !== 'AccessDeniedException' || i === 12) throw e;
      await new Promise((r) => setTimeout(r, 5000));
    }
  }
}
