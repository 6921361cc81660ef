package cfntest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"
)

// This file is the part of ECR's API that publishing needs. Images themselves go to a registry, which is not here.

// RegistryPassword is what the token of GetAuthorizationToken says.
const RegistryPassword = "password-of-the-registry"

// SetImage puts an image into a repository as a push does.
func (s *Server) SetImage(region, repository, tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.images[region+"/"+repository+":"+tag] = true
}

func (s *Server) ecr(w http.ResponseWriter, r *request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	switch r.Action {
	case "DescribeImages":
		repository, _ := r.json["repositoryName"].(string)
		ids, _ := r.json["imageIds"].([]any)
		for _, id := range ids {
			tag, _ := id.(map[string]any)["imageTag"].(string)
			if !s.images[r.Region+"/"+repository+":"+tag] {
				r.refuse(w, &Error{400, "ImageNotFoundException", "The image with imageId {imageTag:'" + tag + "'} does not exist within the repository with name '" + repository + "' in the registry with id '" + Account + "'"})
				return
			}
		}
		json.NewEncoder(w).Encode(map[string]any{"imageDetails": []any{map[string]any{"repositoryName": repository}}})
	case "GetAuthorizationToken":
		json.NewEncoder(w).Encode(map[string]any{"authorizationData": []any{map[string]any{
			"authorizationToken": base64.StdEncoding.EncodeToString([]byte("AWS:" + RegistryPassword)),
			"expiresAt":          s.now.Add(12 * time.Hour).Unix(), "proxyEndpoint": "https://" + Account + ".dkr.ecr." + r.Region + ".amazonaws.com"}}})
	default:
		r.refuse(w, &Error{400, "UnknownOperationException", r.Action})
	}
}
