# Runs the handler of an sst.Job in CodeBuild, as Lambda would: python -c <this>, in the folder of the bundle.
import importlib, json, os, sys, time

sys.path.insert(0, os.getcwd())
name, function = os.environ["SST_HANDLER"].rsplit(".", 1)
end = time.time() + int(os.environ["SST_TIMEOUT"])


class Context:
    function_name = os.environ["SST_JOB"]
    aws_request_id = os.environ.get("CODEBUILD_BUILD_ID")

    @staticmethod
    def get_remaining_time_in_millis():
        return int((end - time.time()) * 1000)


getattr(importlib.import_module(name.replace("/", ".")), function)(json.loads(os.environ.get("SST_PAYLOAD") or "{}"), Context())
