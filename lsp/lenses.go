package lsp

// Code lenses: what can be done with the construct below them. The server does it, so that every editor has them.

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.lsp.dev/protocol"
	"go.lsp.dev/uri"
	"go.starlark.net/syntax"

	"sst/builtins"
	interp "sst/starlark"
)

// Actions are what code lenses do and show. They reach a running `sst start` and the last build, which the server knows
// nothing of. A nil func leaves its lenses out.
type Actions struct {
	// Invoke runs a function, by id or handler, or sends to a source of events; event is JSON, or what is sent. It gives what came back and what was logged.
	Invoke func(ctx context.Context, root, name, event string) (answer, logs string, err error)
	// Logs gives a file with what a function of the running start has printed last.
	Logs func(root, id string) (file string, err error)
	// URL is where an API with this id answers.
	URL func(root, id string) (string, error)
	// Stage is the developer's own stage of a project, "" when there is none yet.
	Stage func(root string) string
	// Built is what the last build made of the construct or stack with this id; nil when there was none.
	Built func(root, id string) *Built
}

// Built is what the last build made of a construct.
type Built struct {
	Stage     string
	Template  string // file
	Resources []Resource
}

// Resource is a resource of CloudFormation.
type Resource struct {
	Type string // "AWS::SQS::Queue"
	Name string // in AWS, "" when CloudFormation chooses it
}

// Commands of the lenses. Their one argument is a lensTarget.
const (
	commandInvoke   = "sst.invoke"
	commandLogs     = "sst.logs"
	commandOpen     = "sst.openUrl"
	commandTemplate = "sst.openTemplate"
)

var commands = []string{commandInvoke, commandLogs, commandOpen, commandTemplate}

// lensTarget is what a command is about.
type lensTarget struct {
	Root  string `json:"root"`
	Name  string `json:"name"`            // id or handler
	Event string `json:"event,omitempty"` // what is sent; "" = {}
	Path  string `json:"path,omitempty"`  // behind the URL
}

// sent are the constructs that a message can be sent to. The others want a body of a certain form, which the command line takes.
var sent = []string{"sst.Queue", "sst.Topic", "sst.KinesisStream"}

func (c *call) codeLens(p *protocol.CodeLensParams) (any, error) {
	lenses := []protocol.CodeLens{}
	a := c.analyse(p.TextDocument)
	if a == nil || c.snapshot.isPrelude(a.doc.path) {
		return lenses, nil
	}
	do := c.server.opts.Actions
	ids := c.constructs(a)
	for i := range a.outlined().Calls {
		made := &a.outlined().Calls[i]
		add := func(at protocol.Range, title, command string, target lensTarget) {
			target.Root = a.root
			argument, err := json.Marshal(target)
			if err == nil {
				lenses = append(lenses, protocol.CodeLens{Range: at, Command: protocol.Command{Title: title, Command: command, Arguments: []protocol.LSPAny{argument}}})
			}
		}
		id, at := ids[made.Expr], a.doc.rangeOf(made.Span, c.client.utf8)
		switch {
		case id == "":
		case made.Callee == "sst.Function" || made.Callee == "sst.Cron":
			if do.Invoke != nil {
				add(at, "Invoke", commandInvoke, lensTarget{Name: id})
			}
			if do.Logs != nil {
				add(at, "Logs", commandLogs, lensTarget{Name: id})
			}
		case slices.Contains(sent, made.Callee) && do.Invoke != nil:
			add(at, "Send {}", commandInvoke, lensTarget{Name: id, Event: "{}"})
		case (made.Callee == "sst.Api" || made.Callee == "sst.ApiV1") && do.URL != nil:
			add(at, "Open URL", commandOpen, lensTarget{Name: id})
			for _, route := range openRoutes(made.Expr) {
				_, path, _ := strings.Cut(route.Value.(string), " ")
				add(a.doc.rangeOf(literalSpan(a.doc, route), c.client.utf8), "Open "+path, commandOpen, lensTarget{Name: id, Path: path})
			}
		case made.Callee == "sst.Stack" && do.Built != nil:
			if built := do.Built(a.root, id); built != nil {
				add(at, fmt.Sprintf("%s in stage %s", counted(len(built.Resources), "resource"), built.Stage), commandTemplate, lensTarget{Name: id})
			}
		}
	}
	return lenses, nil
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

// openRoutes are the keys of an Api's routes that a browser can open: GET, without parameters.
func openRoutes(call *syntax.CallExpr) []*syntax.Literal {
	var keys []*syntax.Literal
	for _, arg := range call.Args {
		b, ok := arg.(*syntax.BinaryExpr)
		if !ok || b.Op != syntax.EQ || interp.DottedName(b.X) != "routes" {
			continue
		}
		dict, ok := b.Y.(*syntax.DictExpr)
		if !ok {
			continue
		}
		for _, entry := range dict.List {
			key, ok := entry.(*syntax.DictEntry).Key.(*syntax.Literal)
			if !ok {
				continue
			}
			if text, ok := literalText(key); ok && strings.HasPrefix(text, "GET /") && !strings.Contains(text, "{") {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// constructs are the ids, "web/Export", of the constructs that a file makes, by their calls. One whose scope is not plain has only its own, "Export".
func (c *call) constructs(a *analysis) map[*syntax.CallExpr]string {
	ids := map[*syntax.CallExpr]string{}
	targets := map[string]*interp.Call{} // by global; nil = assigned more than once
	calls := a.outlined().Calls
	for i := range calls {
		if target := calls[i].Target; target != "" {
			if _, again := targets[target]; again {
				targets[target] = nil
			} else {
				targets[target] = &calls[i]
			}
		}
	}
	var idOf func(made *interp.Call, depth int) string
	idOf = func(made *interp.Call, depth int) string {
		if !isConstruct(made) {
			return ""
		}
		own, _ := literalText(made.Expr.Args[1])
		if own == "" || made.Callee == "sst.Stack" || depth > 10 {
			return own
		}
		if scope, ok := made.Expr.Args[0].(*syntax.Ident); ok && targets[scope.Name] != nil {
			return path.Join(idOf(targets[scope.Name], depth+1), own)
		}
		return own
	}
	for i := range calls {
		if id := idOf(&calls[i], 0); id != "" {
			ids[calls[i].Expr] = id
		}
	}
	return ids
}

// later is a result that is waited for beside the requests that follow.
type later func(ctx context.Context) (any, error)

func (c *call) executeCommand(p *protocol.ExecuteCommandParams) (any, error) {
	var target lensTarget
	if len(p.Arguments) != 1 || json.Unmarshal(p.Arguments[0], &target) != nil || target.Root == "" || target.Name == "" {
		return nil, &wireError{codeInvalidParams, p.Command + " takes one object with root and name"}
	}
	do, s := c.server.opts.Actions, c.server
	switch {
	case p.Command == commandInvoke && do.Invoke != nil:
		return later(func(ctx context.Context) (any, error) {
			ctx, end := c.progress(ctx, "Invoking "+target.Name)
			defer end()
			answer, logs, err := do.Invoke(ctx, target.Root, target.Name, cmp.Or(target.Event, "{}"))
			if logs != "" {
				s.say("window/logMessage", protocol.MessageTypeLog, logs)
			}
			if err != nil {
				s.say("window/showMessage", protocol.MessageTypeError, clipped(err.Error()+answered(answer)))
				return nil, nil
			}
			s.say("window/showMessage", protocol.MessageTypeInfo, clipped(target.Name+answered(answer)))
			return nil, nil
		}), nil
	case p.Command == commandLogs && do.Logs != nil:
		file, err := do.Logs(target.Root, target.Name)
		if err != nil {
			s.say("window/showMessage", protocol.MessageTypeError, err.Error())
			return nil, nil
		}
		c.show(uriOf(file), false)
		return nil, nil
	case p.Command == commandOpen && do.URL != nil:
		address, err := do.URL(target.Root, target.Name)
		if err != nil {
			s.say("window/showMessage", protocol.MessageTypeError, err.Error())
			return nil, nil
		}
		c.show(strings.TrimSuffix(address, "/")+target.Path, true)
		return nil, nil
	case p.Command == commandTemplate && do.Built != nil:
		built := do.Built(target.Root, target.Name)
		if built == nil {
			s.say("window/showMessage", protocol.MessageTypeError, "There is no build of "+target.Name+" any more. `sst build` makes one.")
			return nil, nil
		}
		c.show(uriOf(built.Template), false)
		return nil, nil
	}
	return nil, &wireError{codeInvalidParams, "there is no command " + p.Command}
}

var errGivenUp = errors.New("not waited for any longer; what was invoked may go on")

// progress shows that something takes its time, with a button that gives it up; the func ends the show.
func (c *call) progress(ctx context.Context, title string) (context.Context, func()) {
	if !c.client.progress {
		return ctx, func() {}
	}
	s := c.server
	token := fmt.Sprintf("sst-%d", s.asked.Add(1))
	ctx, cancel := context.WithCancelCause(ctx)
	s.working.Store(token, cancel)
	type progress struct {
		Token string `json:"token"`
		Value any    `json:"value,omitempty"`
	}
	yes := true
	s.out.ask(token, "window/workDoneProgress/create", progress{Token: token})
	s.out.notify("$/progress", progress{token, &protocol.WorkDoneProgressBegin{Kind: "begin", Title: title, Cancellable: &yes}})
	return ctx, func() {
		s.working.Delete(token)
		cancel(nil)
		s.out.notify("$/progress", progress{token, &protocol.WorkDoneProgressEnd{Kind: "end"}})
	}
}

// giveUp is the button of a progress.
func (s *Server) giveUp(p *protocol.WorkDoneProgressCancelParams) error {
	token := fmt.Sprint(p.Token)
	if cancel, ok := s.working.Load(token); ok {
		cancel.(context.CancelCauseFunc)(errGivenUp)
	}
	return nil
}

func answered(answer string) string {
	if answer == "" {
		return ""
	}
	return ": " + answer
}

// clipped keeps a message short enough for the corner of a screen.
func clipped(text string) string {
	const most = 1000
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// say tells the user something.
func (s *Server) say(method string, kind protocol.MessageType, text string) {
	s.out.notify(method, &protocol.ShowMessageParams{Type: kind, Message: text})
}

// show has the editor open a document, or the browser an address; an editor that cannot is given the address as a text.
func (c *call) show(address string, external bool) {
	if !c.client.shows {
		c.server.say("window/showMessage", protocol.MessageTypeInfo, address)
		return
	}
	yes := true
	p := &protocol.ShowDocumentParams{URI: uri.URI(address), TakeFocus: &yes}
	if external {
		p.External = &yes
	}
	c.server.out.ask(fmt.Sprintf("sst-%d", c.server.asked.Add(1)), "window/showDocument", p)
}

// builtText says what the construct that a call at an offset makes is called, and what the last build made of it; "" when
// nothing is known.
func (c *call) builtText(a *analysis, start int, about builtins.About) string {
	if about.Kind != "construct" && about.Kind != "class" {
		return ""
	}
	at := a.doc.place(start)
	ids := c.constructs(a)
	for i := range a.outlined().Calls {
		made := &a.outlined().Calls[i]
		if made.Span.Start.Compare(at) > 0 || made.Span.End.Compare(at) < 0 || ids[made.Expr] == "" {
			continue
		}
		var built *Built
		if do := c.server.opts.Actions; do.Built != nil {
			built = do.Built(a.root, ids[made.Expr])
		}
		var parts []string
		stage := ""
		if built != nil {
			stage = built.Stage
		}
		if names := c.stageNames(a, made, about, stage); names != "" {
			parts = append(parts, names)
		}
		if built != nil && len(built.Resources) > 0 {
			parts = append(parts, builtResources(built))
		} else if kind := builtins.ResourceType(made.Callee); kind != "" {
			parts = append(parts, "In CloudFormation: "+kind)
		}
		return strings.Join(parts, "\n\n")
	}
	return ""
}

// builtResources lists types with how many there are, and the names.
func builtResources(built *Built) string {
	var types []string
	count := map[string]int{}
	names := map[string][]string{}
	for _, r := range built.Resources {
		if count[r.Type]++; count[r.Type] == 1 {
			types = append(types, r.Type)
		}
		if r.Name != "" {
			names[r.Type] = append(names[r.Type], "`"+r.Name+"`")
		}
	}
	text := fmt.Sprintf("In stage %s, as built last:\n", built.Stage)
	for i, t := range types {
		if i == 12 {
			return text + fmt.Sprintf("\n- and %d more types", len(types)-i)
		}
		text += "\n- " + t
		if count[t] > 1 {
			text += fmt.Sprintf(" × %d", count[t])
		}
		if list := names[t]; len(list) > 0 {
			text += " " + strings.Join(list[:min(len(list), 3)], ", ")
		}
	}
	return text
}
