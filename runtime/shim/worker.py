"""The process side of a Python function where awslambdaric is not installed: loads the handler, speaks the Runtime API."""
import http.client
import importlib
import json
import os
import sys
import time
import traceback

BASE = "/2018-06-01/runtime/"


class Context:
    def __init__(self, headers):
        self.aws_request_id = headers.get("Lambda-Runtime-Aws-Request-Id")
        self.invoked_function_arn = headers.get("Lambda-Runtime-Invoked-Function-Arn")
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.tenant_id = headers.get("Lambda-Runtime-Aws-Tenant-Id")
        self.client_context = record(headers.get("Lambda-Runtime-Client-Context"))
        self.identity = record(headers.get("Lambda-Runtime-Cognito-Identity"))
        self._deadline = int(headers.get("Lambda-Runtime-Deadline-Ms") or 0)

    def get_remaining_time_in_millis(self):
        return max(self._deadline - int(time.time() * 1000), 0)


class Record:
    def __init__(self, fields):
        self.__dict__.update(fields)


def record(text):
    return Record(json.loads(text)) if text else None


def describe(error, request_id, skip):
    frames = traceback.extract_tb(error.__traceback__)[skip:]
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "requestId": request_id,
        "stackTrace": traceback.format_list(frames),
    }


def load(handler):
    module, _, name = handler.rpartition(".")
    if not module:
        return None, {"errorMessage": "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % handler,
                      "errorType": "Runtime.MalformedHandlerName", "requestId": "", "stackTrace": []}
    try:
        found = importlib.import_module(module.replace("/", "."))
    except ImportError as err:
        return None, {"errorMessage": "Unable to import module '%s': %s" % (module, err),
                      "errorType": "Runtime.ImportModuleError", "requestId": "", "stackTrace": []}
    except SyntaxError as err:
        trace = ['  File "%s" Line %s\n    %s' % (err.filename, err.lineno, err.text)]
        return None, {"errorMessage": "Syntax error in module '%s': %s" % (module, err),
                      "errorType": "Runtime.UserCodeSyntaxError", "requestId": "", "stackTrace": trace}
    except Exception as err:
        return None, describe(err, "", 1)
    if not hasattr(found, name):
        return None, {"errorMessage": "Handler '%s' missing on module '%s'" % (name, module),
                      "errorType": "Runtime.HandlerNotFound", "requestId": "", "stackTrace": []}
    return getattr(found, name), None


class Api:
    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address)

    def call(self, method, path, body=None, headers=None):
        self.connection.request(method, BASE + path, body, headers or {})
        answer = self.connection.getresponse()
        return answer, answer.read()

    def error(self, path, shape):
        self.call("POST", path, json.dumps(shape),
                  {"Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": shape["errorType"]})


def main():
    sys.path.insert(0, os.getcwd())
    api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])
    handler, problem = load(os.environ["_HANDLER"])
    if problem:
        api.error("init/error", problem)
        sys.exit(1)
    while True:
        answer, event = api.call("GET", "invocation/next")
        request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        trace = answer.headers.get("Lambda-Runtime-Trace-Id")
        if trace:
            os.environ["_X_AMZN_TRACE_ID"] = trace
        else:
            os.environ.pop("_X_AMZN_TRACE_ID", None)
        path = "invocation/%s/" % request_id
        try:
            result = handler(json.loads(event), Context(answer.headers))
            try:
                body = json.dumps(result, ensure_ascii=False).encode("utf-8", "surrogatepass")
            except Exception as err:
                shape = {"errorMessage": "Unable to marshal response: %s" % err, "errorType": "Runtime.MarshalError",
                         "requestId": request_id, "stackTrace": []}
                api.error(path + "error", shape)
                continue
        except Exception as err:
            sys.stdout.flush()
            api.error(path + "error", describe(err, request_id, 1))
            continue
        sys.stdout.flush()
        api.call("POST", path + "response", body, {"Content-Type": "application/json"})


try:
    main()
except (ConnectionError, http.client.HTTPException):
    sys.exit(1)
