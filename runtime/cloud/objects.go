package cloud

// What S3 keeps: the bytes of an object in a file of its own, all else in the store. An object is there once the store
// says so, so that one half written is never seen.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/johannesboyne/gofakes3"
	"go.etcd.io/bbolt"
)

const typeBucket = "AWS::S3::Bucket"

// object is what the store knows of one.
type object struct {
	File     string
	Size     int64
	Hash     []byte
	Parts    int // it was uploaded in; 0: in one
	Metadata map[string]string
	Modified time.Time
}

// etag is how S3 names the content: of an upload in parts, the sum of their sums and how many there were.
func (one *object) etag() string {
	if one.Parts > 0 {
		return fmt.Sprintf(`"%x-%d"`, one.Hash, one.Parts)
	}
	return gofakes3.FormatETag(one.Hash)
}

// objects is the storage of all buckets.
type objects struct {
	cloud *Cloud
	dir   string

	mu sync.RWMutex // writers of the store's entries hold it, so that conditions and files fit them
}

var _ gofakes3.Backend = (*objects)(nil)

var objectsBucket = []byte("objects")

func openObjects(c *Cloud, dir string) (*objects, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	o := &objects{cloud: c, dir: dir}
	used := map[string]bool{}
	err := c.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{objectsBucket, partsBucket} {
			b, err := tx.CreateBucketIfNotExists(name)
			if err != nil {
				return err
			}
			if err := b.ForEach(func(_, data []byte) error {
				var one object
				err := json.Unmarshal(data, &one)
				used[one.File] = true
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	for _, entry := range entries { // what a process that was ended had begun
		if !used[entry.Name()] {
			os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
	return o, err
}

func (o *objects) handler() http.Handler {
	return gofakes3.New(o, gofakes3.WithTimeSkewLimit(0), gofakes3.WithoutVersioning()).Server()
}

func objectKey(bucket, key string) []byte { return []byte(bucket + "\x00" + key) }

func (o *objects) there(bucket string) error {
	if o.cloud.app.Load().named(typeBucket, bucket) == nil {
		return gofakes3.BucketNotFound(bucket)
	}
	return nil
}

// find gives an object; nil when there is none.
func (o *objects) find(bucket, key string) (found *object, err error) {
	if err := o.there(bucket); err != nil {
		return nil, err
	}
	err = o.cloud.db.View(func(tx *bbolt.Tx) error {
		if data := tx.Bucket(objectsBucket).Get(objectKey(bucket, key)); data != nil {
			found = &object{}
			return json.Unmarshal(data, found)
		}
		return nil
	})
	return found, err
}

func (o *objects) ListBuckets() ([]gofakes3.BucketInfo, error) {
	var all []gofakes3.BucketInfo
	for _, r := range o.cloud.app.Load().Resources {
		if r.Type == typeBucket {
			all = append(all, gofakes3.BucketInfo{Name: r.Name, CreationDate: gofakes3.NewContentTime(time.Unix(0, 0))})
		}
	}
	return all, nil
}

func (o *objects) ListBucket(name string, prefix *gofakes3.Prefix, page gofakes3.ListBucketPage) (*gofakes3.ObjectList, error) {
	if err := o.there(name); err != nil {
		return nil, err
	}
	if prefix == nil {
		prefix = &gofakes3.Prefix{}
	}
	out := gofakes3.NewObjectList()
	err := o.cloud.db.View(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(objectsBucket).Cursor()
		root := objectKey(name, "")
		var count int64
		var match gofakes3.PrefixMatch
		last, group := "", ""
		for k, data := cursor.Seek(objectKey(name, max(page.Marker, prefix.Prefix))); bytes.HasPrefix(k, root); k, data = cursor.Next() {
			key := string(k[len(root):])
			if page.HasMarker && key <= page.Marker || !prefix.Match(key, &match) {
				if prefix.HasPrefix && key > prefix.Prefix && !bytes.HasPrefix([]byte(key), []byte(prefix.Prefix)) {
					break
				}
				continue
			}
			if match.CommonPrefix && (match.MatchedPart == group || page.HasMarker && bytes.HasPrefix([]byte(page.Marker), []byte(match.MatchedPart))) {
				last = key
				continue
			}
			if page.MaxKeys > 0 && count >= page.MaxKeys {
				out.IsTruncated, out.NextMarker = true, last
				break
			}
			count++
			last = key
			if match.CommonPrefix {
				group = match.MatchedPart
				out.AddPrefix(group)
				continue
			}
			var one object
			if err := json.Unmarshal(data, &one); err != nil {
				return err
			}
			out.Add(&gofakes3.Content{Key: key, LastModified: gofakes3.NewContentTime(one.Modified), ETag: one.etag(), Size: one.Size, StorageClass: gofakes3.StorageStandard})
		}
		return nil
	})
	return out, err
}

// Buckets are made and removed in stacks.star; serveS3 refuses it before.
func (o *objects) CreateBucket(string) error      { return gofakes3.ErrNotImplemented }
func (o *objects) DeleteBucket(string) error      { return gofakes3.ErrNotImplemented }
func (o *objects) ForceDeleteBucket(string) error { return gofakes3.ErrNotImplemented }

func (o *objects) BucketExists(name string) (bool, error) { return o.there(name) == nil, nil }

func (o *objects) HeadObject(bucket, key string) (*gofakes3.Object, error) {
	found, err := o.find(bucket, key)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, gofakes3.KeyNotFound(key)
	}
	return &gofakes3.Object{Name: key, Metadata: found.Metadata, Size: found.Size, Hash: found.Hash, Contents: io.NopCloser(bytes.NewReader(nil))}, nil
}

// section is a part of a file; closing it closes the file.
type section struct {
	io.Reader
	io.Closer
}

func (o *objects) GetObject(bucket, key string, wanted *gofakes3.ObjectRangeRequest) (*gofakes3.Object, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	found, err := o.find(bucket, key)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, gofakes3.KeyNotFound(key)
	}
	part, err := wanted.Range(found.Size)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(o.dir, found.File)) // it stays readable when the object is replaced
	if err != nil {
		return nil, err
	}
	out := &gofakes3.Object{Name: key, Metadata: found.Metadata, Size: found.Size, Hash: found.Hash, Range: part, Contents: file}
	if part != nil {
		out.Contents = section{io.NewSectionReader(file, part.Start, part.Length), file}
	}
	return out, nil
}

func (o *objects) PutObject(bucket, key string, meta map[string]string, input io.Reader, size int64, conditions *gofakes3.PutConditions) (gofakes3.PutObjectResult, error) {
	var none gofakes3.PutObjectResult
	if err := o.there(bucket); err != nil {
		return none, err
	}
	one, err := o.store(input, size)
	if err != nil {
		return none, err
	}
	one.Metadata = meta
	if err := o.replace(bucket, key, one, conditions); err != nil {
		os.Remove(filepath.Join(o.dir, one.File))
		return none, err
	}
	return none, nil
}

// replace puts an object in the place of the one there is, or removes that when it is nil.
func (o *objects) replace(bucket, key string, one *object, conditions *gofakes3.PutConditions) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, err := o.find(bucket, key)
	if err != nil {
		return err
	}
	if conditions != nil {
		switch {
		case conditions.IfNoneMatch != nil && before != nil, conditions.IfMatch != nil && before != nil && !sameETag(*conditions.IfMatch, before.etag()):
			return gofakes3.ErrorMessage(gofakes3.ErrPreconditionFailed, "At least one of the pre-conditions you specified did not hold")
		case conditions.IfMatch != nil && before == nil:
			return gofakes3.KeyNotFound(key)
		}
	}
	err = o.cloud.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(objectsBucket)
		if one == nil {
			return b.Delete(objectKey(bucket, key))
		}
		data, err := json.Marshal(one)
		if err != nil {
			return err
		}
		return b.Put(objectKey(bucket, key), data)
	})
	if err == nil && before != nil {
		os.Remove(filepath.Join(o.dir, before.File)) // one that is being read on Windows goes at the next start
	}
	return err
}

func (o *objects) DeleteObject(bucket, key string) (gofakes3.ObjectDeleteResult, error) {
	return gofakes3.ObjectDeleteResult{}, o.replace(bucket, key, nil, nil)
}

func (o *objects) DeleteMulti(bucket string, keys ...string) (out gofakes3.MultiDeleteResult, err error) {
	for _, key := range keys {
		if err := o.replace(bucket, key, nil, nil); err != nil {
			return out, err
		}
		out.Deleted = append(out.Deleted, gofakes3.ObjectID{Key: key})
		o.cloud.changed(bucket, key, "ObjectRemoved:Delete")
	}
	return out, nil
}

// CopyObject gives the copy the sum of its content, whatever that of the source is.
func (o *objects) CopyObject(fromBucket, from, toBucket, to string, meta map[string]string) (out gofakes3.CopyObjectResult, err error) {
	source, err := o.GetObject(fromBucket, from, nil)
	if err != nil {
		return out, err
	}
	defer source.Contents.Close()
	one, err := o.store(source.Contents, source.Size)
	if err != nil {
		return out, err
	}
	one.Metadata = meta
	if err := o.replace(toBucket, to, one, nil); err != nil {
		os.Remove(filepath.Join(o.dir, one.File))
		return out, err
	}
	return gofakes3.CopyObjectResult{ETag: one.etag(), LastModified: gofakes3.NewContentTime(one.Modified)}, nil
}
