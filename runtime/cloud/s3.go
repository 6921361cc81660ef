package cloud

// S3 in front of its storage: what is there, who may, presigned URLs, and notifications.

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sst/runtime/queues"
)

// s3Others are those that S3 has and this has not: an object's bytes would be taken for them.
var s3Others = []string{"acl", "tagging", "torrent", "restore", "select", "retention", "legal-hold", "attributes", "versioning", "versions", "versionId", "policy", "cors",
	"lifecycle", "notification", "encryption", "website", "logging", "replication", "accelerate", "requestPayment", "inventory", "analytics", "metrics", "object-lock",
	"ownershipControls", "publicAccessBlock", "intelligent-tiering", "policyStatus", "session", "renameObject"}

// serveS3 answers a call to S3.
func (c *Cloud) serveS3(w http.ResponseWriter, r *http.Request, req *call) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	if host, _, ok := strings.Cut(r.Host, ".s3."); ok && host != "" { // http://bucket.s3.localhost:port/key
		key, bucket = strings.TrimPrefix(r.URL.Path, "/"), host
		r.URL.Path = "/" + bucket + r.URL.Path
		r.URL.RawPath = ""
	}
	req.op = s3Name(r, bucket, key, query)
	if req.op == "" {
		req.op = r.Method + " " + r.URL.Path
		for _, part := range s3Others {
			if query.Has(part) {
				req.op = r.Method + " ?" + part
			}
		}
		req.unknown(w)
		return
	}
	if query.Has("X-Amz-Signature") && req.caller != nil && r.Method != http.MethodOptions {
		if err := c.presigned(r, req.caller, r.Method); err != nil {
			req.refuse(w, err)
			return
		}
	}
	arn := "arn:aws:s3:::" + bucket
	if key != "" {
		arn += "/" + key
	} else if req.op == "DeleteObject" {
		arn += "/*"
	} else if req.op == "ListAllMyBuckets" {
		arn = "*"
	}
	err := error(nil)
	if r.Method != http.MethodOptions {
		err = req.may("s3:"+req.op, arn)
	}
	from := strings.TrimPrefix(r.Header.Get("X-Amz-Copy-Source"), "/")
	if from != "" && err == nil {
		from, _ = url.PathUnescape(from)
		from, _, _ = strings.Cut(from, "?")
		err = req.may("s3:GetObject", "arn:aws:s3:::"+from)
	}
	if err != nil {
		req.refuse(w, err)
		return
	}
	answer := &statusWriter{ResponseWriter: w, status: http.StatusOK, sums: r.Header.Get("X-Amz-Checksum-Mode") != "" || r.Method == http.MethodPut}
	c.s3.ServeHTTP(answer, r)
	if answer.status >= 300 || key == "" {
		return
	}
	switch {
	case r.Method == http.MethodDelete && !query.Has("uploadId"):
		c.changed(bucket, key, "ObjectRemoved:Delete")
	case r.Method == http.MethodPost && query.Has("uploadId"):
		c.changed(bucket, key, "ObjectCreated:CompleteMultipartUpload")
	case r.Method == http.MethodPut && !query.Has("partNumber") && from != "":
		c.changed(bucket, key, "ObjectCreated:Copy")
	case r.Method == http.MethodPut && !query.Has("partNumber"):
		c.changed(bucket, key, "ObjectCreated:Put")
	}
}

// s3Name is the permission that a request needs; "" when there is no such operation here.
func s3Name(r *http.Request, bucket, key string, query url.Values) string {
	if slices.ContainsFunc(s3Others, query.Has) {
		return ""
	}
	switch {
	case r.Method == http.MethodOptions:
		return "OPTIONS"
	case bucket == "":
		if r.Method == http.MethodGet {
			return "ListAllMyBuckets"
		}
	case key == "":
		switch {
		case r.Method == http.MethodGet && query.Has("location"):
			return "GetBucketLocation"
		case r.Method == http.MethodGet && query.Has("uploads"):
			return "ListBucketMultipartUploads"
		case r.Method == http.MethodGet, r.Method == http.MethodHead:
			return "ListBucket"
		case r.Method == http.MethodPost && query.Has("delete"):
			return "DeleteObject"
		}
	case query.Has("uploadId") && r.Method == http.MethodDelete:
		return "AbortMultipartUpload"
	case query.Has("uploadId") && r.Method == http.MethodGet:
		return "ListMultipartUploadParts"
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return "GetObject"
	case r.Method == http.MethodPut, r.Method == http.MethodPost && (query.Has("uploads") || query.Has("uploadId")):
		if query.Has("partNumber") && r.Header.Get("X-Amz-Copy-Source") != "" {
			return "" // UploadPartCopy
		}
		return "PutObject"
	case r.Method == http.MethodDelete:
		return "DeleteObject"
	}
	return ""
}

type statusWriter struct {
	http.ResponseWriter
	status int
	sums   bool // checksums are wanted
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	if !w.sums || status == http.StatusPartialContent { // they are those of the whole object
		for name := range w.Header() {
			if strings.HasPrefix(name, "X-Amz-Checksum-") {
				w.Header().Del(name)
			}
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// changed tells the network of an object.
func (c *Cloud) changed(bucket, key, event string) {
	about := c.app.Load().named(typeBucket, bucket)
	if about == nil {
		return
	}
	change := fields{"key": key, "eventName": event}
	if one, err := c.objects.find(bucket, key); err == nil && one != nil {
		change["size"], change["eTag"] = one.Size, hex.EncodeToString(one.Hash)
	}
	body, err := json.Marshal(change)
	if err == nil {
		c.opts.Network.Deliver(about.Source, queues.Message{ID: newID(), Body: body})
	}
}

// pageMay says whether a page's request is one that a function has presigned.
func (c *Cloud) pageMay(app *App, r *http.Request, caller *Caller, presigned bool) bool {
	if caller == nil || !presigned {
		return false
	}
	return r.Method == http.MethodOptions || c.presigned(r, caller, r.Method) == nil
}

// presigned checks the signature of a URL that a function has made.
func (c *Cloud) presigned(r *http.Request, caller *Caller, method string) error {
	query := r.URL.Query()
	at, err := time.Parse("20060102T150405Z", query.Get("X-Amz-Date"))
	seconds, bad := strconv.Atoi(query.Get("X-Amz-Expires"))
	parts := strings.Split(query.Get("X-Amz-Credential"), "/")
	if err != nil || bad != nil || len(parts) < 5 {
		return &Error{Status: http.StatusBadRequest, Code: "AuthorizationQueryParametersError", Message: "Error parsing the query parameters of the signature"}
	}
	if time.Since(at) > time.Duration(seconds)*time.Second {
		return &Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: "Request has expired"}
	}
	given := query.Get("X-Amz-Signature")
	query.Del("X-Amz-Signature")
	headers := strings.Split(query.Get("X-Amz-SignedHeaders"), ";")
	var canonical strings.Builder
	canonical.WriteString(method + "\n" + r.URL.EscapedPath() + "\n" + strings.ReplaceAll(query.Encode(), "+", "%20") + "\n")
	for _, name := range headers {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		canonical.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	payload := "UNSIGNED-PAYLOAD"
	if hash := r.Header.Get("X-Amz-Content-Sha256"); hash != "" {
		payload = hash
	}
	canonical.WriteString("\n" + strings.Join(headers, ";") + "\n" + payload)
	sum := sha256.Sum256([]byte(canonical.String()))
	scope := strings.Join(parts[len(parts)-4:], "/")
	key := []byte("AWS4" + caller.Secret)
	for _, part := range parts[len(parts)-4:] {
		key = keyed(key, part)
	}
	want := hex.EncodeToString(keyed(key, "AWS4-HMAC-SHA256\n"+query.Get("X-Amz-Date")+"\n"+scope+"\n"+hex.EncodeToString(sum[:])))
	if subtle.ConstantTimeCompare([]byte(want), []byte(given)) != 1 {
		return &Error{Status: http.StatusForbidden, Code: "SignatureDoesNotMatch", Message: "The request signature we calculated does not match the signature you provided. Check your key and signing method."}
	}
	return nil
}

func keyed(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
