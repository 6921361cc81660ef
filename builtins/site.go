package builtins

import (
	"path/filepath"
	"strings"

	"go.starlark.net/starlark"

	"sst/builtins/jsii"
	"sst/cfn"
	"sst/runtime/bundle"
	interp "sst/starlark"
)

// site is a static site to be listed in the manifest.
type site struct {
	owner *Object
	cfn.Site
}

// siteOf is the intrinsic _site.
func siteOf(s *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var target starlark.Value
	var path string
	var o bundle.SiteOptions
	var environment *starlark.Dict
	if err := starlark.UnpackArgs("_site", args, kwargs, "construct", &target, "path", &path, "command??", &o.Command, "output??", &o.Output,
		"index??", &o.Index, "environment??", &environment); err != nil {
		return nil, err
	}
	owner := asObject(scopeOf(target))
	if owner == nil {
		return nil, interp.Errorf("wrong-type", "Wrong type", "_site: got %s, want a construct.", shown(target))
	}
	if environment != nil {
		o.Environment = map[string]string{}
		for _, item := range environment.Items() {
			name, _ := starlark.AsString(item[0])
			o.Environment[name], _ = starlark.AsString(item[1])
		}
	}
	spec := bundle.Spec{Kind: bundle.Site, Handler: filepath.ToSlash(strings.TrimPrefix(path, "./")), Site: &o}
	if err := s.findFolder(spec, "path"); err != nil {
		return nil, err
	}
	tag := s.at(thread)
	one := site{owner: owner, Site: cfn.Site{Bundle: spec, Path: owner.constructPath(), Position: s.position(tag)}}
	one.ID = s.short(one.Path)
	s.sites = append(s.sites, one)
	if s.in.OnSite != nil {
		s.in.OnSite(one.Site)
	}
	return s.placeholder(thread, spec.Key())
}

// placeholder is the aws_lambda.Code that stands for a bundle until its hash is known.
func (s *session) placeholder(thread *starlark.Thread, key string) (*Object, error) {
	t, _ := s.catalog.Type("aws-cdk-lib.aws_lambda.Code")
	code := &Object{s: s, id: s.id(), t: t}
	hash := key
	if real, ok := s.in.Hashes[key]; ok {
		hash = real
	}
	return code, s.send(jsii.Op{Kind: jsii.PlaceholderCode, ID: code.id, Args: []jsii.Value{hash}, Tag: s.at(thread)})
}

// findFolder checks that the folder of a spec exists.
func (s *session) findFolder(spec bundle.Spec, keyword string) error {
	_, _, err := bundle.Find(s.root, spec.Handler, spec.Kind)
	if err == nil {
		return nil
	}
	s.depend(Dependency{Kind: "dir", Name: filepath.Dir(filepath.Join(s.root, filepath.FromSlash(spec.Handler)))})
	f := interp.Errorf("missing-folder", "Folder not found", "%v.", err)
	f.Keyword, f.Value = keyword, spec.Handler
	if find, ok := err.(*bundle.FindError); ok && len(find.Known) > 0 {
		f.Hint = "Did you mean \"" + find.Known[0] + "\"?"
	}
	return f
}
