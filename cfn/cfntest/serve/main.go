// Command serve runs the AWS of the tests for somebody who wants to look at the tool by hand: it prints the environment to use it with,
// and serves until Ctrl-C.
//
//	eval "$(go run ./cfn/cfntest/serve -file /tmp/aws & sleep 3; cat /tmp/aws)"
package main

import (
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"os/signal"
	"strings"
	"time"

	"sst/cfn/cfntest"
)

func main() {
	region := flag.String("region", "us-east-1", "that is bootstrapped")
	longest := flag.Duration("longest", 8*time.Second, "that a resource takes; each has its own time")
	latency := flag.Duration("latency", 50*time.Millisecond, "of each call")
	fail := flag.String("fail", "", "WHAT:STACK/LOGICALID:REASON, as Server.Fail")
	file := flag.String("file", "/dev/stdout", "to write the environment to")
	flag.Parse()
	server := cfntest.New(cfntest.Options{Speed: 1, Latency: *latency, Duration: func(stack, id, kind string) time.Duration {
		sum := fnv.New32()
		fmt.Fprint(sum, stack, id, kind)
		return *longest * time.Duration(1+sum.Sum32()%10) / 10
	}})
	server.Bootstrap(*region, 30)
	if what, rest, found := strings.Cut(*fail, ":"); found {
		name, reason, _ := strings.Cut(rest, ":")
		stack, id, _ := strings.Cut(name, "/")
		server.Fail(what, stack, id, reason)
	}
	text := ""
	for _, pair := range server.Env(*region) {
		text += "export " + pair + "\n"
	}
	if err := os.WriteFile(*file, []byte(text), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
	server.Close()
}
