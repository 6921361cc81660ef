// A function for the unmodified npm aws-lambda-ric.
export const handler = async (event, context) => {
  switch (event.do) {
    case 'error': throw new RangeError('no such note');
    case 'exit': process.exit(4);
    case 'sleep': await new Promise(() => setInterval(() => {}, 1000));
    case 'echo': return { pad: event.pad };
    case 'large': return 'x'.repeat(8 << 20);
  }
  return {
    id: context.awsRequestId, arn: context.invokedFunctionArn, left: context.getRemainingTimeInMillis(), client: context.clientContext?.custom?.who ?? '',
    identity: context.identity?.cognitoIdentityId ?? '', tenant: context.tenantId ?? '', trace: process.env._X_AMZN_TRACE_ID ?? '',
    name: context.functionName, version: context.functionVersion, memory: +context.memoryLimitInMB, group: context.logGroupName, stream: context.logStreamName,
  };
};
export const stream = awslambda.streamifyResponse(async (event, out) => {
  if (event.do !== 'late') out = awslambda.HttpResponseStream.from(out, { statusCode: 201, headers: { 'x-made': 'yes' } });
  out.write('one ');
  if (event.do === 'late') {
    await new Promise((r) => setTimeout(r, 50));
    throw new RangeError('too late');
  }
  out.write('two');
  out.end();
});
