package dynamo

// The grammar of expressions: tokens, conditions, updates, projections. What they mean is in condition.go and update.go.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A step is an attribute or map member by name, or a list element by index.
type step struct {
	name  string
	index int // -1: by name
}

type path []step

func (p path) String() string {
	parts := make([]string, len(p))
	for at, s := range p {
		if parts[at] = s.name; s.index >= 0 {
			parts[at] = "[" + strconv.Itoa(s.index) + "]"
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// A node is a part of an expression: an operand (path, value, a function of operands) or a condition over operands.
type node struct {
	op    string // "path", "value", "and", "or", "not", a comparator, "between", "in", "+", "-" or the name of a function
	path  path
	value Value
	args  []*node
}

// An action is one clause of an update.
type action struct {
	verb  string // SET, REMOVE, ADD, DELETE
	path  path
	value *node
}

// names are the placeholders of one request, shared by its expressions.
type placeholders struct {
	names               map[string]string
	values              map[string]Value
	usedNames, usedKeys map[string]bool
}

type token struct {
	text       string
	start, end int
}

type parser struct {
	kind   string // "ConditionExpression" and its like, for errors
	source string
	tokens []token
	at     int
	with   *placeholders
	err    error // the first; everything ends quickly after it
}

const maxExpressionBytes = 4096

func newParser(kind, source string, with *placeholders) *parser {
	p := &parser{kind: kind, source: source, with: with}
	if source == "" {
		p.fail("The expression can not be empty;")
		return p
	}
	if len(source) > maxExpressionBytes {
		p.fail("Expression size has exceeded the maximum allowed size; expression size: %d", len(source))
		return p
	}
	p.split()
	return p
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = invalid("Invalid %s: %s", p.kind, fmt.Sprintf(format, args...))
	}
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func (p *parser) split() {
	for at := 0; at < len(p.source); {
		start := at
		switch c := p.source[at]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			at++
			continue
		case isLetter(c) || c == '#' || c == ':':
			for at++; at < len(p.source) && (isLetter(p.source[at]) || isDigit(p.source[at])); at++ {
			}
			if at == start+1 && (c == '#' || c == ':') {
				p.tokens = append(p.tokens, token{p.source[start:at], start, at})
				p.at = len(p.tokens) - 1
				p.unexpected()
				return
			}
		case isDigit(c):
			for at++; at < len(p.source) && isDigit(p.source[at]); at++ {
			}
		case c == '<' && at+1 < len(p.source) && (p.source[at+1] == '>' || p.source[at+1] == '='),
			c == '>' && at+1 < len(p.source) && p.source[at+1] == '=':
			at += 2
		case strings.IndexByte("()[].,=<>+-", c) >= 0:
			at++
		default:
			for at++; at < len(p.source) && p.source[at] >= 0x80; at++ {
			}
			p.tokens = append(p.tokens, token{p.source[start:at], start, at})
			p.at = len(p.tokens) - 1
			p.unexpected()
			return
		}
		p.tokens = append(p.tokens, token{p.source[start:at], start, at})
	}
}

// unexpected tells of the token at hand, with its neighbours.
func (p *parser) unexpected() {
	if p.at >= len(p.tokens) {
		near := ""
		if n := len(p.tokens); n > 0 {
			near = p.source[p.tokens[max(0, n-2)].start:p.tokens[n-1].end]
		}
		p.fail(`Syntax error; token: "<EOF>", near: "%s"`, near)
		return
	}
	from, to := max(0, p.at-1), min(len(p.tokens)-1, p.at+1)
	p.fail(`Syntax error; token: "%s", near: "%s"`, p.tokens[p.at].text, p.source[p.tokens[from].start:p.tokens[to].end])
}

func (p *parser) peek() string {
	if p.err != nil || p.at >= len(p.tokens) {
		return ""
	}
	return p.tokens[p.at].text
}

// take moves on when the token at hand is that one; keywords have no case.
func (p *parser) take(text string) bool {
	if p.peek() == "" || !strings.EqualFold(p.peek(), text) {
		return false
	}
	p.at++
	return true
}

func (p *parser) want(text string) {
	if p.err == nil && !p.take(text) {
		p.unexpected()
	}
}

func (p *parser) end() {
	if p.err == nil && p.at < len(p.tokens) {
		p.unexpected()
	}
}

func parseCondition(kind, source string, with *placeholders) (*node, error) {
	p := newParser(kind, source, with)
	condition := p.or()
	p.end()
	return condition, p.err
}

func (p *parser) or() *node  { return p.series("or", p.and) }
func (p *parser) and() *node { return p.series("and", p.not) }

func (p *parser) series(op string, part func() *node) *node {
	left := part()
	for p.take(op) {
		left = &node{op: op, args: []*node{left, part()}}
	}
	return left
}

func (p *parser) not() *node {
	if p.take("NOT") {
		return &node{op: "not", args: []*node{p.not()}}
	}
	return p.primary()
}

func isComparison(token string) bool {
	return slices.Contains([]string{"=", "<>", "<", "<=", ">", ">=", "BETWEEN", "IN"}, strings.ToUpper(token))
}

// operandInParens looks at what follows the closing parenthesis: only an operand is compared.
func (p *parser) operandInParens() bool {
	depth := 0
	for at := p.at; at < len(p.tokens); at++ {
		switch p.tokens[at].text {
		case "(":
			depth++
		case ")":
			if depth--; depth == 0 {
				return at+1 < len(p.tokens) && isComparison(p.tokens[at+1].text)
			}
		}
	}
	return false
}

// wraps tells that the parenthesis at start is closed by the token just read.
func (p *parser) wraps(start int) bool {
	depth := 0
	for at := start; at < p.at; at++ {
		switch p.tokens[at].text {
		case "(":
			depth++
		case ")":
			if depth--; depth == 0 {
				return at == p.at-1
			}
		}
	}
	return false
}

// conditionFunctions and how many operands each takes; size gives an operand instead.
var conditionFunctions = map[string]int{"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2}
var operandFunctions = map[string]int{"size": 1, "if_not_exists": 2, "list_append": 2}

func (p *parser) primary() *node {
	if p.peek() == "(" && !p.operandInParens() {
		p.at++
		start := p.at
		twice := p.peek() == "(" && !p.operandInParens()
		inner := p.or()
		if twice && p.wraps(start) && p.peek() == ")" {
			p.fail("The expression has redundant parentheses;")
		}
		p.want(")")
		return inner
	}
	left := p.operand(true)
	if p.err != nil {
		return left
	}
	op := p.peek()
	if _, ok := conditionFunctions[left.op]; ok {
		if isComparison(op) {
			p.fail("The function is not allowed to be used this way in an expression; function: %s", left.op)
		}
		return left
	}
	switch strings.ToUpper(op) {
	case "=", "<>", "<", "<=", ">", ">=":
		p.at++
		return p.checked(&node{op: op, args: []*node{left, p.operand(false)}})
	case "BETWEEN":
		p.at++
		low := p.operand(false)
		p.want("AND")
		return p.checked(&node{op: "between", args: []*node{left, low, p.operand(false)}})
	case "IN":
		p.at++
		p.want("(")
		in := &node{op: "in", args: []*node{left, p.operand(false)}}
		for p.take(",") {
			in.args = append(in.args, p.operand(false))
		}
		p.want(")")
		if len(in.args) > 101 {
			p.fail("Invalid number of operands for operator or function; operator or function: IN, number of operands: %d", len(in.args))
		}
		return p.checked(in)
	}
	if left.op == "size" {
		p.fail("The function is not allowed to be used this way in an expression; function: size")
	}
	p.unexpected()
	return left
}

// operand reads a path, a value or a function; condition tells that a function that answers yes or no may stand here too.
func (p *parser) operand(condition bool) *node {
	text := p.peek()
	switch {
	case text == "(":
		p.at++
		inner := p.operand(false)
		p.want(")")
		return inner
	case strings.HasPrefix(text, ":"):
		p.at++
		p.with.usedKeys[text] = true
		value, ok := p.with.values[text]
		if !ok {
			p.fail("An expression attribute value used in expression is not defined; attribute value: %s", text)
		}
		return &node{op: "value", value: value}
	case text != "" && isLetter(text[0]) && p.at+1 < len(p.tokens) && p.tokens[p.at+1].text == "(":
		return p.call(condition)
	}
	return &node{op: "path", path: p.documentPath()}
}

func (p *parser) call(condition bool) *node {
	name := p.peek()
	p.at += 2
	call := &node{op: name}
	if p.peek() != ")" {
		call.args = append(call.args, p.value())
		for p.take(",") {
			call.args = append(call.args, p.value())
		}
	}
	p.want(")")
	if p.err != nil {
		return call
	}
	count, isCondition := conditionFunctions[name]
	if !isCondition {
		var known bool
		if count, known = operandFunctions[name]; !known {
			p.fail("Invalid function name; function: %s", name)
			return call
		}
	}
	update := p.kind == "UpdateExpression"
	if update && (isCondition || name == "size") || !update && (name == "if_not_exists" || name == "list_append") {
		p.fail("Invalid function name; function: %s", name)
		return call
	}
	if isCondition && !condition {
		p.fail("The function is not allowed to be used this way in an expression; function: %s", name)
		return call
	}
	if len(call.args) != count {
		p.fail("Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", name, len(call.args))
		return call
	}
	return p.checked(call)
}

// value is what stands right of the = in SET, or between the commas of a function.
func (p *parser) value() *node {
	left := p.operand(false)
	for p.kind == "UpdateExpression" && (p.peek() == "+" || p.peek() == "-") {
		op := p.peek()
		p.at++
		left = p.checked(&node{op: op, args: []*node{left, p.operand(false)}})
	}
	return left
}

func (p *parser) documentPath() path {
	out := path{p.name(true)}
	for p.err == nil {
		switch {
		case p.take("."):
			out = append(out, p.name(false))
		case p.take("["):
			digits := p.peek()
			index, err := strconv.Atoi(digits)
			if err != nil || !isDigit(digits[0]) {
				p.unexpected()
				return out
			}
			p.at++
			p.want("]")
			out = append(out, step{index: index})
		default:
			if len(out) > maxDepth {
				p.fail("The document path has too many nesting elements; nesting levels: %d", len(out))
			}
			return out
		}
	}
	return out
}

func (p *parser) name(first bool) step {
	text := p.peek()
	switch {
	case strings.HasPrefix(text, "#"):
		p.at++
		p.with.usedNames[text] = true
		name, ok := p.with.names[text]
		if !ok {
			p.fail("An expression attribute name used in the document path is not defined; attribute name: %s", text)
		}
		return step{name: name, index: -1}
	case text == "" || !isLetter(text[0]) || text[0] == '_' && first:
		if p.err == nil {
			p.unexpected()
		}
		return step{index: -1}
	}
	if reserved[strings.ToUpper(text)] {
		p.fail("Attribute name is a reserved keyword; reserved keyword: %s", text)
	}
	p.at++
	return step{name: text, index: -1}
}

// checked refuses what can be seen to be wrong without an item.
func (p *parser) checked(n *node) *node {
	if p.err != nil {
		return n
	}
	kindIn := func(arg *node, word string, kinds ...Kind) {
		if arg.op == "value" && !slices.Contains(kinds, arg.value.Kind) {
			p.fail("Incorrect operand type for operator or function; operator%s: %s, operand type: %s", word, n.op, arg.value.Kind)
		}
	}
	switch n.op {
	case "<", "<=", ">", ">=":
		for _, arg := range n.args {
			kindIn(arg, "", String, Number, Binary)
		}
		p.distinct(n.op, n.args)
	case "=", "<>":
		p.distinct(n.op, n.args)
	case "in":
		p.distinct("IN", n.args)
	case "between":
		low, high := n.args[1], n.args[2]
		for _, arg := range n.args {
			if arg.op == "value" && !slices.Contains([]Kind{String, Number, Binary}, arg.value.Kind) {
				p.fail("Incorrect operand type for operator or function; operator: BETWEEN, operand type: %s", arg.value.Kind)
			}
		}
		if p.err != nil || low.op != "value" || high.op != "value" {
			return n
		}
		bounds := fmt.Sprintf("lower bound operand: AttributeValue: %s, upper bound operand: AttributeValue: %s", low.value.told(), high.value.told())
		if low.value.Kind != high.value.Kind {
			p.fail("The BETWEEN operator requires same data type for lower and upper bounds; %s", bounds)
		} else if compare(low.value, high.value) > 0 {
			p.fail("The BETWEEN operator requires upper bound to be greater than or equal to lower bound; %s", bounds)
		}
	case "attribute_exists", "attribute_not_exists", "if_not_exists":
		if n.args[0].op != "path" {
			p.fail("Operator or function requires a document path; operator or function: %s", n.op)
		}
	case "size":
		if n.args[0].op == "value" {
			kindIn(n.args[0], " or function", String, Binary, Map, List, StringSet, NumberSet, BinarySet)
		}
	case "begins_with":
		kindIn(n.args[0], " or function", String, Binary)
		kindIn(n.args[1], " or function", String, Binary)
		p.distinct(n.op, n.args)
	case "contains":
		p.distinct(n.op, n.args)
	case "attribute_type":
		kindIn(n.args[1], " or function", String)
		if n.args[1].op != "value" {
			p.fail("Operator or function requires an expression attribute value; operator or function: attribute_type")
		} else if _, ok := kindByte[Kind(n.args[1].value.Text)]; !ok && p.err == nil {
			p.fail("Invalid attribute type name found; type: %s, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}", n.args[1].value.Text)
		}
	case "list_append":
		kindIn(n.args[0], " or function", List)
		kindIn(n.args[1], " or function", List)
	case "+", "-":
		kindIn(n.args[0], " or function", Number)
		kindIn(n.args[1], " or function", Number)
	}
	return n
}

// distinct refuses comparing a path with itself.
func (p *parser) distinct(op string, args []*node) {
	for _, arg := range args[1:] {
		if args[0].op == "path" && arg.op == "path" && slices.Equal(args[0].path, arg.path) {
			p.fail("The first operand must be distinct from the remaining operands for this operator or function; operator: %s, first operand: %s",
				op, args[0].path)
		}
	}
}

// told is a value as AWS shows it in messages.
func (v Value) told() string { return "{" + string(v.Kind) + ":" + v.Text + "}" }

func parseProjection(source string, with *placeholders) ([]path, error) {
	p := newParser("ProjectionExpression", source, with)
	var paths []path
	for p.err == nil {
		paths = append(paths, p.documentPath())
		if !p.take(",") {
			break
		}
	}
	p.end()
	p.apart(paths)
	return paths, p.err
}

// apart refuses two paths of which one holds the other.
func (p *parser) apart(paths []path) {
	for at, one := range paths {
		for _, other := range paths[at+1:] {
			if p.err != nil {
				return
			}
			n := 0
			for n < min(len(one), len(other)) && one[n] == other[n] {
				n++
			}
			switch {
			case n == min(len(one), len(other)):
				p.fail("Two document paths overlap with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", one, other)
			case (one[n].index < 0) != (other[n].index < 0):
				p.fail("Two document paths conflict with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", one, other)
			}
		}
	}
}

func parseUpdate(source string, with *placeholders) ([]action, error) {
	p := newParser("UpdateExpression", source, with)
	var actions []action
	seen := map[string]bool{}
	for p.err == nil && (p.peek() != "" || len(actions) == 0) {
		verb := strings.ToUpper(p.peek())
		switch verb {
		case "SET", "REMOVE", "ADD", "DELETE":
		default:
			p.unexpected()
			return nil, p.err
		}
		if seen[verb] {
			p.fail(`The "%s" section can only be used once in an update expression;`, verb)
		}
		seen[verb] = true
		p.at++
		for p.err == nil {
			act := action{verb: verb, path: p.documentPath()}
			switch verb {
			case "SET":
				p.want("=")
				act.value = p.value()
			case "ADD", "DELETE":
				if p.err == nil && !strings.HasPrefix(p.peek(), ":") {
					p.unexpected()
					break
				}
				act.value = p.operand(false)
				p.setOperand(verb, act.value.value.Kind)
			}
			actions = append(actions, act)
			if !p.take(",") {
				break
			}
		}
	}
	p.end()
	paths := make([]path, len(actions))
	for at, act := range actions {
		paths[at] = act.path
	}
	p.apart(paths)
	return actions, p.err
}

func (p *parser) setOperand(verb string, kind Kind) {
	if p.err != nil || kind.elementKind() != "" || verb == "ADD" && kind == Number {
		return
	}
	word := map[Kind]string{String: "STRING", Number: "NUMBER", Binary: "BINARY", Bool: "BOOLEAN", Null: "NULL", Map: "MAP", List: "LIST"}[kind]
	p.fail("Incorrect operand type for operator or function; operator: %s, operand type: %s, typeSet: ALLOWED_FOR_%s_OPERAND", verb, word, verb)
}

// unused tells of placeholders that no expression took.
func (w *placeholders) unused() error {
	for _, group := range []struct {
		what string
		keys []string
		used map[string]bool
	}{{"ExpressionAttributeNames", sorted(w.names), w.usedNames}, {"ExpressionAttributeValues", sorted(w.values), w.usedKeys}} {
		var left []string
		for _, key := range group.keys {
			if !group.used[key] {
				left = append(left, key)
			}
		}
		if len(left) > 0 {
			return invalid("Value provided in %s unused in expressions: keys: {%s}", group.what, strings.Join(left, ", "))
		}
	}
	return nil
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
