import type { S3Event, SNSMessage, SQSBatchResponse, SQSEvent } from "aws-lambda";

/** Works on uploads. What it could not do is named in the answer, so that only that is tried again. */
export async function main(event: SQSEvent): Promise<SQSBatchResponse> {
  const failed: SQSBatchResponse = { batchItemFailures: [] };
  for (const record of event.Records) {
    try {
      for (const key of uploadedKeys(record.body)) {
        console.log("uploaded", key);
      }
    } catch (error) {
      console.error("failed", record.messageId, error);
      failed.batchItemFailures.push({ itemIdentifier: record.messageId });
    }
  }
  return failed;
}

/** The keys of the objects that a message of the topic tells of. */
export function uploadedKeys(body: string): string[] {
  const message = JSON.parse(body) as Partial<SNSMessage>;
  const event = (message.Message === undefined ? message : JSON.parse(message.Message)) as Partial<S3Event>;
  return (event.Records ?? []).map(({ s3 }) => decodeURIComponent(s3.object.key.replaceAll("+", " ")));
}
