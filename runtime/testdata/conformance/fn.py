# A function for the unmodified awslambdaric.
import os, time


def handler(event, context):
    do = event["do"]
    if do == "error":
        raise ValueError("no such note")
    if do == "exit":
        os._exit(4)
    if do == "sleep":
        time.sleep(3600)
    if do == "echo":
        return {"pad": event["pad"]}
    if do == "large":
        return "x" * (8 << 20)
    client, identity = context.client_context, context.identity
    return {
        "id": context.aws_request_id, "arn": context.invoked_function_arn, "left": context.get_remaining_time_in_millis(),
        "client": client.custom["who"] if client else "", "identity": identity.cognito_identity_id or "",
        "tenant": getattr(context, "tenant_id", None) or "", "trace": os.environ.get("_X_AMZN_TRACE_ID", ""),
        "name": context.function_name, "version": context.function_version, "memory": int(context.memory_limit_in_mb),
        "group": context.log_group_name, "stream": context.log_stream_name,
    }
