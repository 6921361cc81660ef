package jsii

import "context"

// CDKVersion is the version of aws-cdk-lib in this binary.
const CDKVersion = "2.270.0"

// TapMain does the work of the hidden verb that Unpack starts, and says whether this process was started for it.
// It comes first in main and in the TestMain of tests that unpack.
func TapMain() bool { return false }

// Unpack makes sure that the CDK is on disk under cacheDir and gives its folder, which has a node_modules.
// progress, if not nil, is called once when there is work to do.
func Unpack(ctx context.Context, cacheDir string, progress func(string)) (dir string, err error) {
	return "", nil
}
