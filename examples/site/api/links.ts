// The handlers of the API. Whose links are meant is in the token, which API Gateway has checked, and nowhere else.
import { randomUUID } from "node:crypto";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DeleteCommand, DynamoDBDocumentClient, PutCommand, QueryCommand } from "@aws-sdk/lib-dynamodb";

// The parts of API Gateway's event (payload format 2.0) that these handlers read.
interface Request {
  body?: string;
  isBase64Encoded: boolean;
  pathParameters?: Record<string, string>;
  requestContext: { authorizer: { jwt: { claims: { sub: string } } } };
}

const table: string = JSON.parse(process.env.SST_RESOURCE_Links!).name;
const db = DynamoDBDocumentClient.from(new DynamoDBClient({}));

export async function list(request: Request) {
  const found = await db.send(
    new QueryCommand({
      TableName: table,
      KeyConditionExpression: "#user = :user",
      ExpressionAttributeNames: { "#user": "user" },
      ExpressionAttributeValues: { ":user": userOf(request) },
      ScanIndexForward: false, // the newest first
      Limit: 100,
    }),
  );
  return json(200, (found.Items ?? []).map(({ id, url }) => ({ id, url })));
}

export async function add(request: Request) {
  const url = urlOf(request);
  if (url === undefined) return json(400, { message: 'The body is JSON of the form {"url": "https://..."}.' });
  const link = { id: `${new Date().toISOString()}-${randomUUID()}`, url };
  await db.send(new PutCommand({ TableName: table, Item: { user: userOf(request), ...link } }));
  return json(201, link);
}

export async function remove(request: Request) {
  const key = { user: userOf(request), id: request.pathParameters?.id ?? "" };
  await db.send(new DeleteCommand({ TableName: table, Key: key }));
  return { statusCode: 204 };
}

function userOf(request: Request): string {
  return request.requestContext.authorizer.jwt.claims.sub;
}

// An address that a page may show as a link: "javascript:" is one as well, and would run for whoever follows it.
function urlOf(request: Request): string | undefined {
  const body = request.isBase64Encoded ? Buffer.from(request.body ?? "", "base64").toString() : request.body;
  try {
    const url = new URL(JSON.parse(body ?? "").url);
    return ["http:", "https:"].includes(url.protocol) && url.href.length <= 2000 ? url.href : undefined;
  } catch {
    return undefined;
  }
}

function json(statusCode: number, value: unknown) {
  return { statusCode, headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}
