package runtime

// How `sst shell` learns what the code of the running app knows.

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"sst/cfn"
)

// EnvironmentPath is on the control port; `of` in its query is the id of a function or a static site, "" everything that is
// linked. It wants the token of start.json.
const EnvironmentPath = "/sst/environment"

// Environment is what a command gets that works with the running app.
type Environment struct {
	Folder    string            `json:"folder,omitempty"` // of a static site, relative to the project
	Variables map[string]string `json:"variables"`
}

// site is a static site as the running app knows it.
type site struct {
	cfn.Packed
	env map[string]string
	err error // of those variables that have no value here
}

func readSites(asm *cfn.Assembly, resolver *cfn.Resolver) []site {
	var sites []site
	for _, p := range asm.Manifest.Sites {
		env, err := resolver.SiteEnvironment(p)
		sites = append(sites, site{p, env, err})
	}
	return sites
}

func (s *Server) serveEnvironment(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(w, r) {
		return
	}
	if s.cloud == nil {
		http.Error(w, "the app runs on AWS", http.StatusNotFound)
		return
	}
	about, err := s.app.Load().environment(r.URL.Query().Get("of"), s.cloud.URL())
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(about)
}

// environment gives that of a function, of a static site, or all that functions link, for the developer's own code.
func (a *app) environment(of, endpoint string) (*Environment, error) {
	for _, site := range a.sites {
		if site.ID == of {
			return &Environment{site.Bundle.Handler, site.env}, site.err
		}
	}
	developer := map[string]string{
		"AWS_ENDPOINT_URL":          endpoint,
		"AWS_REGION":                a.region,
		"AWS_ACCESS_KEY_ID":         "developer", // no function's, so it may do everything
		"AWS_SECRET_ACCESS_KEY":     "local",
		"AWS_SESSION_TOKEN":         "local",
		"AWS_EC2_METADATA_DISABLED": "true",
	}
	if of == "" {
		for _, fn := range a.ordered {
			for name, value := range fn.env {
				if strings.HasPrefix(name, "SST_RESOURCE_") {
					developer[name] = value
				}
			}
		}
		return &Environment{Variables: developer}, nil
	}
	fn := a.functions[of]
	if fn == nil {
		ids := slices.Sorted(maps.Keys(a.functions))
		for _, site := range a.sites {
			ids = append(ids, site.ID)
		}
		return nil, fmt.Errorf("there is no function or static site %q; there are %s", of, strings.Join(ids, ", "))
	}
	env := maps.Clone(fn.env)
	maps.Copy(env, developer)
	return &Environment{Variables: env}, nil
}
