// Package cmd holds the verbs of sst: one file a verb, and what they share: the world they may touch (World), the
// project they work on (project), the way from stacks.star to an assembly (pipeline), and the View that tells people
// and programs what happened.
//
// Only this package reads arguments, environment and the standard streams; the packages below take values.
// Start reading at Run.
package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sst/builtins"
	"sst/builtins/jsii"
	"sst/starlark/diag"
)

// Exit codes of every verb.
const (
	ExitDone    = 0 // it did what was asked
	ExitProblem = 1 // the user's problem; diagnostics were printed
	ExitUsage   = 2 // the command line is wrong
	ExitFault   = 3 // a fault of sst; what to report was printed
)

// World is what a verb may touch of the outside. Tests give each script its own.
type World struct {
	Args    []string // without the program's name
	Dir     string   // working directory, absolute
	Environ []string // as os.Environ; workers get a few of these
	// LookupEnv gives a variable of that environment, as os.LookupEnv.
	LookupEnv func(name string) (string, bool)

	Stdin    io.Reader
	Stdout   io.Writer // for programs
	Stderr   io.Writer // for people
	CacheDir string    // per-user cache, shared by projects: the unpacked CDK

	// Engine, when set, is used instead of opening one, and is left open: scripts share a warm host.
	Engine func(ctx context.Context) (*builtins.Engine, error)
}

// Getenv gives the value of an environment variable, "" when it is not set.
func (w *World) Getenv(name string) string {
	value, _ := w.LookupEnv(name)
	return value
}

// flags are the global ones, the same for every verb.
type flags struct {
	stage   string
	region  string
	profile string
	out     string
	json    bool
	verbose bool
	noColor bool
}

// tool is one run of the program: its world, its flags and its view.
type tool struct {
	*World
	flags
	view   View
	screen *screen // of the human view on a terminal; nil otherwise
	log    *slog.Logger
	env    envInUse // the project's .env files; nil before a project is open

	patience time.Duration // with a checker that says nothing; 0 is patienceWithTools
	onBuild  func()        // called when a build finds that something has changed; may be nil

	node struct {
		once  sync.Once
		found jsii.Node
		err   error
	}
}

// commands is the table of verbs, in the order of the help text.
var commands = []struct {
	title string
	verbs []func(*tool) *cobra.Command
}{
	{"Write and run:", []func(*tool) *cobra.Command{
		initCommand,
		startCommand,
		invokeVerb,
		testCommand,
		lintCommand,
		fmtCommand,
		docCommand,
		addCommand,
		envCommand,
	}},
	{"Deploy:", []func(*tool) *cobra.Command{
		buildCommand,
		diffCommand,
		deployCommand,
		statusCommand,
		removeCommand,
		bootstrapCommand,
		lookupCommand,
	}},
	{"On a deployed stage:", []func(*tool) *cobra.Command{
		secretsCommand,
		logsCommand,
		shellCommand,
	}},
	{"The tool:", []func(*tool) *cobra.Command{
		lspCommand,
		completionCommand,
		versionCommand,
	}},
}

func init() { cobra.EnableCommandSorting = false } // the order is that of commands

// Main runs the verb of this process's command line and gives its exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process whatever it is doing
	world := &World{
		Args:      os.Args[1:],
		Environ:   os.Environ(),
		LookupEnv: os.LookupEnv,
		Stdin:     os.Stdin,
		Stdout:    os.Stdout,
		Stderr:    os.Stderr,
	}
	var err error
	if world.Dir, err = os.Getwd(); err != nil {
		fmt.Fprintf(os.Stderr, "error: the working directory cannot be read: %v\n", err)
		return ExitProblem
	}
	cache, err := os.UserCacheDir()
	if err != nil { // no HOME: a private folder of this run's user still works
		cache = filepath.Join(os.TempDir(), fmt.Sprintf("sst-cache-%d", os.Getuid()))
	}
	world.CacheDir = filepath.Join(cache, "sst")
	return Run(ctx, world)
}

// Run runs one command line in a world and gives its exit code. Everything a user sees goes through the world's
// streams. The end of ctx is the user's Ctrl-C.
func Run(ctx context.Context, world *World) (code int) {
	t := &tool{World: world, log: slog.New(slog.DiscardHandler)}
	t.view = newHumanView(world.Stdout, world.Stderr, viewOptions{Base: world.Dir})
	defer func() {
		if fault := recover(); fault != nil {
			t.view.Fault(fmt.Errorf("panic: %v", fault), debug.Stack())
			code = ExitFault
		}
	}()
	root := t.root()
	root.SetArgs(world.Args)
	command, err := root.ExecuteContextC(ctx)
	var usage *usageError
	if errors.As(err, &usage) {
		usage.command = cmp.Or(usage.command, command)
		t.view = t.newView() // arguments are looked at before a verb's view is chosen
	}
	return t.exit(ctx, err)
}

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "sst",
		Short: "Write your AWS app in Starlark, run its functions live on your machine.",
		Long: `Write your AWS app in Starlark (stacks.star), run its functions live on your machine, deploy it stage by stage.

FILE is optional in every command: without it, the nearest stacks.star is used, looking upwards from here.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return noCommand(c, args[0])
		},
		PersistentPreRunE: func(c *cobra.Command, args []string) error {
			t.view = t.newView()
			return nil
		},
	}
	root.SetIn(t.Stdin)
	root.SetOut(t.Stdout)
	root.SetErr(t.Stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		for _, arg := range t.Args { // those behind the wrong one were not read, and a program reads stdout
			if arg == "--" {
				break
			}
			t.json = t.json || arg == "--json"
		}
		t.view = t.newView()
		text := strings.TrimSuffix(err.Error(), "\n")
		text, _, _ = strings.Cut(text, ": strconv.") // how Go parses numbers tells nobody more
		return usagef("%s", text)
	})
	root.CompletionOptions.DisableDefaultCmd = true
	f := root.PersistentFlags()
	f.StringVar(&t.stage, "stage", "", "`STAGE` to work on (default: the one saved in .sst/stage on this machine)")
	f.StringVar(&t.region, "region", "", "AWS `REGION` (default: that of the App, else that of your AWS settings)")
	f.StringVar(&t.profile, "profile", "", "`PROFILE` of your AWS settings to use (default: AWS_PROFILE)")
	f.StringVar(&t.out, "out", "", "`FOLDER` for the assembly (default: .sst/out beside stacks.star)")
	f.BoolVar(&t.json, "json", false, "print one JSON event a line on stdout")
	f.BoolVarP(&t.verbose, "verbose", "v", false, "show the frames below yours and what is going on")
	f.BoolVar(&t.noColor, "no-color", false, "no colours, as when NO_COLOR is set or stderr is not a terminal")
	for _, group := range commands {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title})
		for _, verb := range group.verbs {
			command := verb(t)
			command.GroupID = group.title
			root.AddCommand(command)
		}
	}
	root.SetHelpCommand(helpCommand())
	root.SetHelpCommandGroupID(commands[len(commands)-1].title)
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { t.printHelp(c) })
	t.completeVerbs(root)
	return root
}

// newView chooses the view once the flags are known.
func (t *tool) newView() View {
	color := !t.noColor && t.Getenv("NO_COLOR") == "" && t.Getenv("TERM") != "dumb" && isTerminal(t.Stderr)
	options := viewOptions{Base: t.Dir, Color: color, Verbose: t.verbose}
	if t.json {
		return newJSONView(t.Stdout, t.Stderr, options)
	}
	if t.screen = t.openScreen(); t.screen == nil {
		return newHumanView(t.Stdout, t.Stderr, options)
	}
	v := newHumanView(t.Stdout, t.screen, options)
	v.screen = t.screen
	return v
}

// openScreen is for a terminal on which lines can be drawn again; without one everything is printed line by line.
func (t *tool) openScreen() *screen {
	ci := t.Getenv("CI")
	if !isTerminal(t.Stderr) || !drawable(t.Stderr.(*os.File), t.Getenv("TERM")) || ci != "" && ci != "false" {
		return nil
	}
	file := t.Stderr.(*os.File)
	return &screen{out: file, size: func() (width, height int) {
		width, height, err := term.GetSize(int(file.Fd()))
		if err != nil {
			return 0, 0
		}
		return width, height
	}}
}

// errors is where people read what the view does not print.
func (t *tool) errors() io.Writer {
	if t.screen != nil {
		return t.screen
	}
	return t.Stderr
}

// exit tells the user what went wrong and says which exit code that is.
func (t *tool) exit(ctx context.Context, err error) int {
	var usage *usageError
	var problem *Problem
	var list diag.List
	var host *jsii.HostError
	switch {
	case err == nil:
		return ExitDone
	case errors.Is(err, errTold):
		return ExitProblem
	case ctx.Err() != nil: // whatever it says, the reason is Ctrl-C
		t.view.Problem(&Problem{Summary: "interrupted"})
		return ExitProblem
	case errors.As(err, &list):
		t.view.Diagnostics(list)
		return ExitProblem
	case errors.As(err, &problem):
		t.view.Problem(problem)
		return ExitProblem
	case errors.As(err, &host):
		t.view.Problem(t.hostProblem(host))
		return ExitProblem
	case errors.As(err, &usage):
		t.view.Problem(&Problem{Summary: usage.text, Hint: fmt.Sprintf("%s --help tells what there is.", usage.command.CommandPath())})
		return ExitUsage
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		t.view.Problem(&Problem{Summary: err.Error(), Hint: "The disk is full: make room and run it again."})
		return ExitProblem
	}
	t.view.Fault(err, nil)
	return ExitFault
}

// Problem is something the user can do something about that has no place in a file.
type Problem struct {
	Summary string // what is wrong
	Hint    string // what to do; "" when the summary says it
}

func (p *Problem) Error() string { return p.Summary }

func problemf(hint, format string, args ...any) error {
	return &Problem{Summary: fmt.Sprintf(format, args...), Hint: hint}
}

// usageError is a wrong command line. command is the one whose help tells more; by default the one that was run.
type usageError struct {
	text    string
	command *cobra.Command
}

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// noCommand is the mistake of a word where one of c's commands is wanted.
func noCommand(c *cobra.Command, word string) error {
	var names []string
	for _, known := range c.Commands() {
		if !known.Hidden {
			names = append(names, known.Name())
		}
	}
	return &usageError{fmt.Sprintf("%s has no command %q%s", c.CommandPath(), word, didYouMean(word, names)), c}
}

// group makes a command that only holds others.
func group(c *cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		return noCommand(c, args[0])
	}
	return c
}

func didYouMean(name string, known []string) string {
	if near := diag.Nearest(name, known); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

// atMostFile is the argument rule of the verbs that take FILE.
func atMostFile(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s takes one FILE, got %d arguments: %s", c.CommandPath(), len(args), strings.Join(args, " "))
	}
	return nil
}

// noArgs is the argument rule of the verbs that take nothing.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, got: %s", c.CommandPath(), strings.Join(args, " "))
	}
	return nil
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
