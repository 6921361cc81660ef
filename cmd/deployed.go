package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"

	"sst/cfn"
)

// This file is what can be done with a function that is deployed: invoke it and read its log.

// deployedFunction is a function of the stage as it is in AWS.
type deployedFunction struct {
	*cfn.Function
	name   string // in AWS
	config aws.Config
}

// deployedFunction finds a function by id, handler or name.
func (t *tool) deployedFunction(ctx context.Context, name string) (*deployedFunction, error) {
	p, err := t.open(ctx, nil)
	if err != nil {
		return nil, err
	}
	asm, err := t.lastAssembly(ctx, p)
	if err != nil {
		return nil, err
	}
	known := running{}
	for _, f := range asm.Manifest.Functions {
		known.Functions = append(known.Functions, struct{ ID, Name, Handler string }{f.ID, f.Name, f.Handler})
	}
	known.Schedules = map[string]string{}
	for _, trigger := range asm.Manifest.Triggers {
		if trigger.Type == "cron" {
			known.Schedules[trigger.ID] = trigger.Function
		}
	}
	id, isSource, err := known.find(name)
	if err != nil {
		return nil, err
	}
	if isSource {
		return nil, problemf("Messages are sent to sources of a running sst start.", "%s is no function", id)
	}
	config, err := t.awsConfig(ctx, p, asm.Manifest.Region)
	if err != nil {
		return nil, err
	}
	f := &deployedFunction{Function: asm.Manifest.Function(id), config: config}
	f.name, err = (&cfn.Deployer{Config: config, Assembly: asm}).DeployedName(ctx, f.Function)
	var absent *cfn.NotDeployed
	if errors.As(err, &absent) {
		return nil, problemf(fmt.Sprintf("sst deploy --stage %s does that.", p.stage), "%s is not deployed in stage %s in %s", id, p.stage, config.Region)
	}
	return f, t.awsProblem(err)
}

func (t *tool) invokeDeployed(ctx context.Context, name string, event []byte) error {
	f, err := t.deployedFunction(ctx, name)
	if err != nil {
		return err
	}
	out, err := lambda.NewFromConfig(f.config).Invoke(ctx, &lambda.InvokeInput{FunctionName: &f.name, Payload: event, LogType: types.LogTypeTail})
	if err != nil {
		return t.awsProblem(fmt.Errorf("invoke %s: %w", f.ID, err))
	}
	return t.invoked(f.ID, out.Payload, aws.ToString(out.LogResult), aws.ToString(out.FunctionError))
}

func logsCommand(t *tool) *cobra.Command {
	var tail bool
	var since time.Duration
	var filter string
	c := &cobra.Command{
		Use:   "logs FUNCTION",
		Short: "Print the log of a deployed function",
		Long: `Print what a function has logged, oldest first, on stdout: that of the running sst start --local, else, or when --stage names another
stage, the one that is deployed. FUNCTION is its id ("web/Export"), its handler ("src/export.main") or its name.

--since says how far back; --tail goes on with what comes, until Ctrl-C. --filter takes a pattern of CloudWatch Logs, which finds
a word or a "phrase in quotes"; of a local function, a text that the line contains.`,
		Example: "  sst logs web/Export --since 1h\n  sst logs src/export.main --tail --filter ERROR --stage prod",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes one FUNCTION, got %d arguments", c.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if there := t.runningLocally(); there != nil {
				return t.localLogs(c.Context(), there, args[0], time.Now().Add(-since), strings.Trim(filter, `"`), tail)
			}
			f, err := t.deployedFunction(c.Context(), args[0])
			if err != nil {
				return err
			}
			return t.logs(c.Context(), f, time.Now().Add(-since), filter, tail)
		},
	}
	c.Flags().BoolVar(&tail, "tail", false, "go on with what comes")
	c.Flags().DurationVar(&since, "since", 10*time.Minute, "how far back")
	c.Flags().StringVar(&filter, "filter", "", "`PATTERN` of what to print")
	return c
}

// localLogs prints what a function of the running start has printed; it keeps the last lines.
func (t *tool) localLogs(ctx context.Context, there *running, name string, from time.Time, filter string, tail bool) error {
	id, isSource, err := there.find(name)
	if err != nil {
		return err
	}
	if isSource {
		return problemf("", "%s is no function", id)
	}
	for after := 0; ; {
		lines, err := there.logs(ctx, id, after)
		if ctx.Err() != nil && tail {
			return nil
		}
		if err != nil {
			return err
		}
		for _, line := range lines {
			after = line.Number
			if !line.Time.Before(from) && strings.Contains(line.Line, filter) {
				t.view.LogLine(id, line.Time, line.Line)
			}
		}
		if !tail {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(localLogPoll):
		}
	}
}

const localLogPoll = 300 * time.Millisecond

// Logs are read by polling, which needs one permission and works through every endpoint: CloudWatch takes
// longer than a second to show a line anyway. Lines come up to lateLines later than others with the same time.
const (
	logPoll   = time.Second
	lateLines = 30 * time.Second
)

func (t *tool) logs(ctx context.Context, f *deployedFunction, from time.Time, filter string, tail bool) error {
	about, err := lambda.NewFromConfig(f.config).GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &f.name})
	if err != nil {
		return t.awsProblem(fmt.Errorf("log group of %s: %w", f.ID, err))
	}
	group := "/aws/lambda/" + f.name
	if about.LoggingConfig != nil && aws.ToString(about.LoggingConfig.LogGroup) != "" {
		group = *about.LoggingConfig.LogGroup
	}
	client := cloudwatchlogs.NewFromConfig(f.config)
	seen := map[string]time.Time{} // by event id, of the last lateLines
	for {
		in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group, StartTime: aws.Int64(from.UnixMilli())}
		if filter != "" {
			in.FilterPattern = &filter
		}
		latest := from
		pages := cloudwatchlogs.NewFilterLogEventsPaginator(client, in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			switch {
			case ctx.Err() != nil && tail:
				return nil
			case cfn.ErrorCode(err) == "ResourceNotFoundException": // nothing was ever logged
				page = &cloudwatchlogs.FilterLogEventsOutput{}
			case err != nil:
				return t.awsProblem(fmt.Errorf("log of %s: %w", f.ID, err))
			}
			for _, e := range page.Events {
				at := time.UnixMilli(aws.ToInt64(e.Timestamp))
				if _, again := seen[aws.ToString(e.EventId)]; again {
					continue
				}
				seen[aws.ToString(e.EventId)] = at
				if at.After(latest) {
					latest = at
				}
				t.view.LogLine(f.ID, at, aws.ToString(e.Message))
			}
			if page.NextToken == nil {
				break
			}
		}
		if !tail {
			return nil
		}
		if back := latest.Add(-lateLines); back.After(from) {
			from = back
		}
		for id, at := range seen {
			if at.Before(from) {
				delete(seen, id)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(logPoll):
		}
	}
}
