package runtime

import (
	"slices"
	"strings"

	"sst/cfn"
)

// route is one route key made ready to be matched.
type route struct {
	key      string
	function string
	method   string // "ANY" for all
	segments []string
	fallback bool // $default
	cfn      cfn.Route
}

// match is the route a request took.
type match struct {
	key        string
	function   string
	parameters map[string]string
	route      cfn.Route
}

func newRoute(r cfn.Route) route {
	if r.Key == "$default" {
		return route{key: r.Key, function: r.Function, fallback: true, cfn: r}
	}
	method, path, _ := strings.Cut(r.Key, " ")
	return route{key: r.Key, function: r.Function, method: strings.ToUpper(method), segments: split(path), cfn: r}
}

func split(path string) []string { return strings.Split(strings.TrimPrefix(path, "/"), "/") }

// kind of a route's segment: the lower the more specific.
func kind(segment string) int {
	switch {
	case !strings.HasPrefix(segment, "{") || !strings.HasSuffix(segment, "}"):
		return 0
	case !strings.HasSuffix(segment, "+}"):
		return 1
	default:
		return 2
	}
}

// try matches a request's method and path segments.
func (r *route) try(method string, path []string) (map[string]string, bool) {
	if r.fallback {
		return nil, true
	}
	if r.method != "ANY" && r.method != method {
		return nil, false
	}
	var parameters map[string]string
	set := func(segment, value string) {
		if parameters == nil {
			parameters = map[string]string{}
		}
		parameters[strings.TrimSuffix(segment[1:len(segment)-1], "+")] = value
	}
	for i, segment := range r.segments {
		if i >= len(path) {
			return nil, false
		}
		switch kind(segment) {
		case 0:
			if segment != path[i] {
				return nil, false
			}
		case 1:
			if path[i] == "" {
				return nil, false
			}
			set(segment, path[i])
		case 2:
			rest := strings.Join(path[i:], "/")
			if rest == "" {
				return nil, false
			}
			set(segment, rest)
			return parameters, true
		}
	}
	return parameters, len(r.segments) == len(path)
}

// before says whether r is the better match than other for a path that both match: a full match before a greedy one
// before $default, earlier literal segments first, a named method before ANY.
func (r *route) before(other *route) bool {
	if r.fallback != other.fallback {
		return other.fallback
	}
	greedy, otherGreedy := r.greedy(), other.greedy()
	if greedy != otherGreedy {
		return otherGreedy
	}
	for i := range min(len(r.segments), len(other.segments)) {
		if a, b := kind(r.segments[i]), kind(other.segments[i]); a != b {
			return a < b
		}
	}
	if len(r.segments) != len(other.segments) {
		return len(r.segments) > len(other.segments)
	}
	return r.method != "ANY" && other.method == "ANY"
}

func (r *route) greedy() bool {
	return len(r.segments) > 0 && kind(r.segments[len(r.segments)-1]) == 2
}

// find gives the best route for a request.
func find(routes []route, method, path string) (match, bool) {
	segments := split(path)
	var best *route
	var found match
	for i := range routes {
		r := &routes[i]
		parameters, ok := r.try(method, segments)
		if ok && (best == nil || r.before(best)) {
			best, found = r, match{key: r.key, function: r.function, parameters: parameters, route: r.cfn}
		}
	}
	return found, best != nil
}

// findMethod gives the route of a REST API for a request: the path decides on the resource, which has the method or not.
func findMethod(routes []route, method, path string) (match, bool) {
	segments := split(path)
	var best *route
	var parameters map[string]string
	for i := range routes {
		r := routes[i]
		r.method = "ANY"
		if got, ok := r.try(method, segments); ok && (best == nil || r.before(best)) {
			best, parameters = &r, got
		}
	}
	if best == nil {
		return match{}, false
	}
	for _, wanted := range []string{method, "ANY"} {
		for _, r := range routes {
			if r.method == wanted && slices.Equal(r.segments, best.segments) {
				return match{key: r.key, function: r.function, parameters: parameters, route: r.cfn}, true
			}
		}
	}
	return match{}, false
}
