// The function that starts an sst.Job: its event is the job's payload, its answer the id of the run.
const { CodeBuildClient, StartBuildCommand } = require('@aws-sdk/client-codebuild');

const client = new CodeBuildClient({});

exports.handler = async (payload) => {
  const { build } = await client.send(new StartBuildCommand({
    projectName: process.env.PROJECT,
    environmentVariablesOverride: [{ name: 'SST_PAYLOAD', value: JSON.stringify(payload ?? {}) }],
  }));
  return { id: build.id };
};
