import type { SQSEvent } from "aws-lambda";
import { main, uploadedKeys } from "./worker";

const upload = { Records: [{ s3: { object: { key: "a+photo.png" } } }] };

test("finds the uploaded keys", () => {
  expect(uploadedKeys(JSON.stringify({ Message: JSON.stringify(upload) }))).toEqual(["a photo.png"]);
  expect(uploadedKeys(JSON.stringify(upload))).toEqual(["a photo.png"]);
});

test("names only what failed", async () => {
  const event = {
    Records: [
      { messageId: "1", body: JSON.stringify(upload) },
      { messageId: "2", body: "not JSON" },
    ],
  } as unknown as SQSEvent;
  expect(await main(event)).toEqual({ batchItemFailures: [{ itemIdentifier: "2" }] });
});
