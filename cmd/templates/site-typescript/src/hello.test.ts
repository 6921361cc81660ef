import type { APIGatewayProxyEventV2 } from "aws-lambda";
import { main } from "./hello";

test("greets by name", async () => {
  const event = { pathParameters: { name: "Ada" } } as unknown as APIGatewayProxyEventV2;
  expect(await main(event)).toMatchObject({ statusCode: 200, body: "Hello, Ada!" });
});
