// Writes the assemblies in this folder with the CDK itself, the way the engine uses it: functions whose code is a
// placeholder named by a key. In a folder with aws-cdk-lib@2.270.0 installed:
//
//   NODE_PATH=node_modules node path/to/cfn/testdata/generate.js
const { createHash } = require("crypto");
const fs = require("fs");
const path = require("path");

Math.random = () => 0.5; // token numbers
const cdk = require("aws-cdk-lib");
const lambda = require("aws-cdk-lib/aws-lambda");
const { HttpApi, HttpMethod, CorsHttpMethod, PayloadFormatVersion } = require("aws-cdk-lib/aws-apigatewayv2");
const { HttpLambdaIntegration, HttpUrlIntegration } = require("aws-cdk-lib/aws-apigatewayv2-integrations");
const { Construct } = require("constructs");

class Placeholder extends lambda.Code {
  constructor(handler) {
    super();
    this.isInline = false;
    this.key = createHash("sha256").update(handler).digest("hex");
  }
  bind(scope) {
    const { bucketName, objectKey } = cdk.Stack.of(scope).synthesizer.addFileAsset({
      sourceHash: this.key, fileName: `asset.${this.key}.zip`, packaging: cdk.FileAssetPackaging.FILE,
    });
    return { s3Location: { bucketName, objectKey } };
  }
}

function fn(scope, id, handler, more) {
  const outer = new Construct(scope, id);
  return new lambda.Function(outer, "Resource", {
    handler, code: new Placeholder(handler), runtime: lambda.Runtime.NODEJS_22_X, memorySize: 1024,
    timeout: cdk.Duration.seconds(10), ...more,
  });
}

function assembly(name, build) {
  const outdir = path.join(__dirname, name);
  fs.rmSync(outdir, { recursive: true, force: true });
  const app = new cdk.App({
    outdir, treeMetadata: false, analyticsReporting: false,
    context: {
      "aws:cdk:disable-creation-stack-traces": true,
      "@aws-cdk/core:newStyleStackSynthesis": true,
      "@aws-cdk/aws-iam:minimizePolicies": true,
      "@aws-cdk/aws-lambda:recognizeVersionProps": true,
      "@aws-cdk/aws-lambda:recognizeLayerVersion": true,
    },
  });
  build(app);
  app.synth();
  for (const dir of [outdir, ...fs.readdirSync(outdir).filter((f) => f.startsWith("assembly-")).map((f) => path.join(outdir, f))]) {
    const file = path.join(dir, "manifest.json");
    const manifest = JSON.parse(fs.readFileSync(file, "utf8"));
    delete manifest.artifacts["aws-cdk-lib/feature-flag-report"]; // long, and nobody reads it
    fs.writeFileSync(file, JSON.stringify(manifest, undefined, 2));
  }
  for (const junk of ["validation-report.json"]) fs.rmSync(path.join(outdir, junk), { force: true });
}

assembly("notes", (app) => {
  const env = { region: "eu-west-1" };
  const storage = new cdk.Stack(app, "dev-notes-storage", { env });
  const table = new cdk.aws_dynamodb.Table(new Construct(storage, "Notes"), "Resource", {
    partitionKey: { name: "user", type: "S" }, stream: cdk.aws_dynamodb.StreamViewType.NEW_IMAGE,
  });
  const bucket = new cdk.aws_s3.Bucket(new Construct(storage, "Files"), "Resource");
  bucket.addEventNotification(cdk.aws_s3.EventType.OBJECT_CREATED,
    new cdk.aws_s3_notifications.LambdaDestination(fn(storage, "Thumb", "src/thumb.main")), { prefix: "in/", suffix: ".png" });
  const queue = new cdk.aws_sqs.Queue(new Construct(storage, "Jobs"), "Resource", { queueName: "dev-notes-Jobs" });

  const web = new cdk.Stack(app, "dev-notes-web", { env, tags: { team: "notes" } });
  const topic = new cdk.aws_sns.Topic(web, "News", { topicName: "dev-notes-News" });
  const secret = new cdk.CfnParameter(web, "Greeting", { default: "hello" });
  const loud = new cdk.CfnCondition(web, "Loud", { expression: cdk.Fn.conditionEquals(secret.valueAsString, "HELLO") });
  const names = new cdk.CfnMapping(web, "Names", { mapping: { "eu-west-1": { short: "euw1" } } });
  const api = new HttpApi(new Construct(web, "Api"), "Resource", {
    apiName: "dev-notes-Api",
    corsPreflight: { allowMethods: [CorsHttpMethod.ANY], allowOrigins: ["*"], allowHeaders: ["*"], maxAge: cdk.Duration.days(1) },
  });
  const list = fn(web, "List", "src/notes.list", {
    environment: {
      TABLE: table.tableName, TABLE_ARN: table.tableArn, QUEUE: queue.queueUrl, QUEUE_ARN: queue.queueArn,
      TOPIC: topic.topicArn, BUCKET: bucket.bucketName, REGION: web.region, ACCOUNT: web.account, STACK: web.stackName,
      GREETING: cdk.Fn.conditionIf(loud.logicalId, "HEY", secret.valueAsString).toString(),
      SHORT: names.findInMap(cdk.Aws.REGION, "short"),
      SUB: cdk.Fn.sub("${AWS::Partition}/${!Literal}/${N}/${Greeting}", { N: "n" }),
      PART: cdk.Fn.select(5, cdk.Fn.split(":", topic.topicArn)),
      URL: web.toJsonString({ url: api.url, domain: bucket.bucketDomainName }), ID: api.apiId,
      PLAIN: "plain",
    },
  });
  const create = fn(web, "Create", "src/notes.create");
  api.addRoutes({ path: "/notes", methods: [HttpMethod.GET], integration: new HttpLambdaIntegration("List", list) });
  api.addRoutes({
    path: "/notes/{id}", methods: [HttpMethod.POST, HttpMethod.ANY],
    integration: new HttpLambdaIntegration("Create", create, { payloadFormatVersion: PayloadFormatVersion.VERSION_1_0 }),
  });
  api.addRoutes({ path: "/away", methods: [HttpMethod.GET], integration: new HttpUrlIntegration("Away", "https://example.com") });
  fn(web, "Export", "src/export.run", { timeout: cdk.Duration.minutes(1) });

  const consumer = fn(web, "Consumer", "src/jobs.main", { environment: { SELF: "x" } });
  consumer.addEventSource(new cdk.aws_lambda_event_sources.SqsEventSource(queue, {
    batchSize: 5, reportBatchItemFailures: true, maxBatchingWindow: cdk.Duration.seconds(3),
  }));
  consumer.addEventSource(new cdk.aws_lambda_event_sources.DynamoEventSource(table, {
    startingPosition: lambda.StartingPosition.LATEST, filters: [lambda.FilterCriteria.filter({ eventName: ["INSERT"] })],
  }));
  topic.addSubscription(new cdk.aws_sns_subscriptions.LambdaSubscription(consumer, {
    filterPolicy: { kind: cdk.aws_sns.SubscriptionFilter.stringFilter({ allowlist: ["a", "b"] }) },
  }));
  topic.addSubscription(new cdk.aws_sns_subscriptions.SqsSubscription(new cdk.aws_sqs.Queue(web, "Other")));
  new cdk.aws_events.Rule(new Construct(web, "Nightly"), "Resource", {
    schedule: cdk.aws_events.Schedule.cron({ minute: "0", hour: "3" }),
    targets: [new cdk.aws_events_targets.LambdaFunction(consumer, { event: cdk.aws_events.RuleTargetInput.fromObject({ night: true, table: table.tableName }) })],
  });
  new cdk.aws_events.Rule(web, "Pattern", {
    eventPattern: { source: ["notes"] }, targets: [new cdk.aws_events_targets.LambdaFunction(list)],
  });
  const role = new cdk.aws_iam.Role(web, "SchedulerRole", { assumedBy: new cdk.aws_iam.ServicePrincipal("scheduler.amazonaws.com") });
  new cdk.aws_scheduler.CfnSchedule(web, "Hourly", {
    scheduleExpression: "rate(1 hour)", scheduleExpressionTimezone: "Europe/Berlin", flexibleTimeWindow: { mode: "OFF" },
    state: "DISABLED", target: { arn: create.functionArn, roleArn: role.roleArn, input: '{"hourly":true}' },
  });

  const inner = new cdk.NestedStack(web, "Inner");
  fn(inner, "Deep", "src/deep.main", { environment: { QUEUE: queue.queueUrl, TOPIC: topic.topicArn } });
  const deeper = new cdk.NestedStack(inner, "Deeper");
  fn(deeper, "Deepest", "src/deep.main", { environment: { TOPIC: topic.topicArn } });
  new cdk.CfnOutput(web, "Url", { value: api.url });
});

assembly("stages", (app) => {
  const shared = new cdk.Stack(app, "Shared");
  fn(shared, "Fn", "src/shared.main");
  for (const name of ["Beta", "Prod"]) {
    const stage = new cdk.Stage(app, name, { env: { account: "111111111111", region: "us-west-2" } });
    const data = new cdk.Stack(stage, "Data");
    const queue = new cdk.aws_sqs.Queue(data, "Queue");
    const work = new cdk.Stack(stage, "Work");
    fn(work, "Fn", "src/work.main", { environment: { QUEUE: queue.queueUrl, NAME: queue.queueName, ARN: queue.queueArn } });
  }
});

assembly("version", (app) => {
  const stack = new cdk.Stack(app, "Versioned");
  fn(stack, "Fn", "src/versioned.main").currentVersion;
});
