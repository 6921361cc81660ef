"""Adds up the numeric columns of each uploaded CSV file."""

import csv
import io
import json
import os
from urllib.parse import unquote_plus

import boto3  # part of Lambda's Python runtime


def totals(lines):
    """The number of rows, and the sum of each column that holds numbers only."""
    rows = 0
    sums = {}
    other = set()
    for row in csv.DictReader(lines):
        rows += 1
        for column, text in row.items():
            try:
                sums[column] = sums.get(column, 0) + float(text)
            except (TypeError, ValueError):
                other.add(column)
    return {"rows": rows, "totals": {column: total for column, total in sums.items() if column not in other}}


def report(s3, bucket, key):
    body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    result = totals(io.TextIOWrapper(body, encoding="utf-8-sig", newline=""))
    s3.put_object(
        Bucket=json.loads(os.environ["SST_RESOURCE_Reports"])["name"],
        Key=f"totals/{key}.json",
        Body=json.dumps(result),
        ContentType="application/json",
    )
    print(f"{key}: {result['rows']} rows")


def main(event, context):
    """Answers with the messages that failed, so that only those come again."""
    s3 = boto3.client("s3")
    failures = []
    for message in event["Records"]:
        try:
            # Without Records it is the test message that S3 sends when a notification is set up.
            for record in json.loads(message["body"]).get("Records", []):
                report(s3, record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"]))
        except Exception as problem:
            print(f"message {message['messageId']}: {problem!r}")
            failures.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failures}
