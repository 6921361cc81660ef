// The notes, in the table of stacks.star.
import { randomUUID } from "node:crypto";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DeleteCommand, DynamoDBDocumentClient, GetCommand, PutCommand, QueryCommand } from "@aws-sdk/lib-dynamodb";

export interface Note {
  id: string; // ascending with the time
  text: string;
  created: string;
}

const { name: TableName } = JSON.parse(process.env.SST_RESOURCE_Notes ?? "{}");
const db = DynamoDBDocumentClient.from(new DynamoDBClient({}));

const user = "everyone"; // an app with accounts has it from the request

export async function all(): Promise<Note[]> {
  const { Items } = await db.send(new QueryCommand({
    TableName,
    KeyConditionExpression: "#user = :user",
    ExpressionAttributeNames: { "#user": "user" },
    ExpressionAttributeValues: { ":user": user },
  }));
  return (Items ?? []).map(noteOf);
}

export async function get(id: string): Promise<Note | undefined> {
  const { Item } = await db.send(new GetCommand({ TableName, Key: { user, id } }));
  return Item && noteOf(Item);
}

export async function add(text: string): Promise<Note> {
  const created = new Date().toISOString();
  const note = { id: `${created.replace(/\D/g, "")}-${randomUUID().slice(0, 8)}`, text, created };
  await db.send(new PutCommand({ TableName, Item: { user, ...note } }));
  return note;
}

// Says whether there was such a note.
export async function remove(id: string): Promise<boolean> {
  const { Attributes } = await db.send(new DeleteCommand({ TableName, Key: { user, id }, ReturnValues: "ALL_OLD" }));
  return Attributes !== undefined;
}

function noteOf({ id, text, created }: Record<string, any>): Note {
  return { id, text, created };
}
