import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from "aws-lambda";

export async function main(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const name = event.pathParameters?.name ?? "world";
  return { statusCode: 200, headers: { "content-type": "text/plain" }, body: `Hello, ${name}!` };
}
