package cloud

// Uploads in parts: each part is a file, and known to the store once it is whole; an upload outlives a restart.

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/johannesboyne/gofakes3"
	"go.etcd.io/bbolt"
)

// minPartBytes is the least of each part but the last.
const minPartBytes = 5 << 20

var (
	uploadsBucket = []byte("uploads")
	partsBucket   = []byte("parts")
)

// upload is one that is not complete.
type upload struct {
	Bucket, Key string
	Metadata    map[string]string
	Begun       time.Time
}

var _ gofakes3.MultipartBackend = (*objects)(nil)

func partKey(id gofakes3.UploadID, number int) []byte {
	return fmt.Appendf(nil, "%s\x00%05d", id, number)
}

// upload finds one; it is an error when there is none.
func (o *objects) upload(bucket, key string, id gofakes3.UploadID) (up upload, err error) {
	if err := o.there(bucket); err != nil {
		return up, err
	}
	ok, err := o.cloud.kept(string(uploadsBucket), string(id), &up)
	if err == nil && (!ok || up.Bucket != bucket || up.Key != key) {
		err = gofakes3.ErrNoSuchUpload
	}
	return up, err
}

func (o *objects) CreateMultipartUpload(bucket, key string, meta map[string]string) (gofakes3.UploadID, error) {
	if err := o.there(bucket); err != nil {
		return "", err
	}
	id := strings.ReplaceAll(newID(), "-", "")
	return gofakes3.UploadID(id), o.cloud.keep(string(uploadsBucket), id, upload{bucket, key, meta, time.Now()})
}

func (o *objects) UploadPart(bucket, key string, id gofakes3.UploadID, number int, size int64, input io.Reader) (string, error) {
	if _, err := o.upload(bucket, key, id); err != nil {
		return "", err
	}
	one, err := o.store(input, size)
	if err != nil {
		return "", err
	}
	var before object
	o.mu.Lock()
	defer o.mu.Unlock()
	err = o.cloud.db.Update(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(uploadsBucket); b == nil || b.Get([]byte(id)) == nil {
			return gofakes3.ErrNoSuchUpload // it ended meanwhile
		}
		b, err := tx.CreateBucketIfNotExists(partsBucket)
		if err != nil {
			return err
		}
		if data := b.Get(partKey(id, number)); data != nil {
			if err := json.Unmarshal(data, &before); err != nil {
				return err
			}
		}
		data, err := json.Marshal(one)
		if err != nil {
			return err
		}
		return b.Put(partKey(id, number), data)
	})
	switch {
	case err != nil:
		os.Remove(filepath.Join(o.dir, one.File))
	case before.File != "":
		os.Remove(filepath.Join(o.dir, before.File))
	}
	return gofakes3.FormatETag(one.Hash), err
}

type part struct {
	number int
	object
}

// parts gives those of an upload, by number.
func (o *objects) parts(id gofakes3.UploadID) (all []part, err error) {
	err = o.cloud.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(partsBucket)
		if b == nil {
			return nil
		}
		prefix := []byte(string(id) + "\x00")
		cursor := b.Cursor()
		for k, data := cursor.Seek(prefix); bytes.HasPrefix(k, prefix); k, data = cursor.Next() {
			var one part
			if err := json.Unmarshal(data, &one.object); err != nil {
				return err
			}
			if _, err := fmt.Sscanf(string(k[len(prefix):]), "%d", &one.number); err != nil {
				return err
			}
			all = append(all, one)
		}
		return nil
	})
	return all, err
}

// end forgets an upload and removes its parts.
func (o *objects) end(id gofakes3.UploadID) error {
	all, err := o.parts(id)
	if err != nil {
		return err
	}
	err = o.cloud.db.Update(func(tx *bbolt.Tx) error {
		for _, p := range all {
			if err := tx.Bucket(partsBucket).Delete(partKey(id, p.number)); err != nil {
				return err
			}
		}
		return tx.Bucket(uploadsBucket).Delete([]byte(id))
	})
	for _, p := range all {
		os.Remove(filepath.Join(o.dir, p.File))
	}
	return err
}

func (o *objects) AbortMultipartUpload(bucket, key string, id gofakes3.UploadID) error {
	if _, err := o.upload(bucket, key, id); err != nil {
		return err
	}
	return o.end(id)
}

func (o *objects) CompleteMultipartUpload(bucket, key string, id gofakes3.UploadID, input *gofakes3.CompleteMultipartUploadRequest) (gofakes3.VersionID, string, error) {
	up, err := o.upload(bucket, key, id)
	if err != nil {
		return "", "", err
	}
	all, err := o.parts(id)
	if err != nil {
		return "", "", err
	}
	var sums []byte
	var readers []io.Reader
	var size int64
	if !slices.IsSortedFunc(input.Parts, func(a, b gofakes3.CompletedPart) int { return a.PartNumber - b.PartNumber }) {
		return "", "", gofakes3.ErrInvalidPartOrder
	}
	last := 0
	for i, wanted := range input.Parts {
		at := slices.IndexFunc(all, func(p part) bool { return p.number == wanted.PartNumber })
		switch {
		case wanted.PartNumber <= last:
			return "", "", gofakes3.ErrInvalidPartOrder
		case at < 0 || strings.Trim(wanted.ETag, `"`) != hex.EncodeToString(all[at].Hash):
			return "", "", gofakes3.ErrInvalidPart
		case i < len(input.Parts)-1 && all[at].Size < minPartBytes:
			return "", "", gofakes3.ErrorMessage(errTooSmall, "Your proposed upload is smaller than the minimum allowed size")
		}
		last = wanted.PartNumber
		sums = append(sums, all[at].Hash...)
		size += all[at].Size
		file, err := os.Open(filepath.Join(o.dir, all[at].File))
		if err != nil {
			return "", "", err
		}
		defer file.Close()
		readers = append(readers, file)
	}
	if len(readers) == 0 {
		return "", "", gofakes3.ErrorMessage(gofakes3.ErrMalformedXML, "an upload is completed with its parts")
	}
	one, err := o.store(io.MultiReader(readers...), size)
	if err != nil {
		return "", "", err
	}
	hash := md5.Sum(sums)
	one.Hash, one.Parts, one.Metadata = hash[:], len(readers), up.Metadata
	if err := o.replace(bucket, key, one, nil); err != nil {
		os.Remove(filepath.Join(o.dir, one.File))
		return "", "", err
	}
	return "", one.etag(), o.end(id)
}

// errTooSmall is a code that the library does not name.
const errTooSmall gofakes3.ErrorCode = "EntityTooSmall"

func (o *objects) ListMultipartUploads(bucket string, marker *gofakes3.UploadListMarker, prefix gofakes3.Prefix, limit int64) (*gofakes3.ListMultipartUploadsResult, error) {
	if err := o.there(bucket); err != nil {
		return nil, err
	}
	out := &gofakes3.ListMultipartUploadsResult{Bucket: bucket, Prefix: prefix.Prefix, Delimiter: prefix.Delimiter, MaxUploads: limit}
	ids, err := o.cloud.keptNames(string(uploadsBucket))
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		var up upload
		if ok, err := o.cloud.kept(string(uploadsBucket), id, &up); err != nil {
			return nil, err
		} else if !ok || up.Bucket != bucket || !strings.HasPrefix(up.Key, prefix.Prefix) {
			continue
		}
		if marker != nil && (up.Key < marker.Object || up.Key == marker.Object && id <= string(marker.UploadID)) {
			continue
		}
		out.Uploads = append(out.Uploads, gofakes3.ListMultipartUploadItem{Key: up.Key, UploadID: gofakes3.UploadID(id), StorageClass: gofakes3.StorageStandard, Initiated: gofakes3.NewContentTime(up.Begun)})
	}
	slices.SortFunc(out.Uploads, func(a, b gofakes3.ListMultipartUploadItem) int {
		return strings.Compare(a.Key+"\x00"+string(a.UploadID), b.Key+"\x00"+string(b.UploadID))
	})
	if int64(len(out.Uploads)) > limit {
		out.Uploads, out.IsTruncated = out.Uploads[:limit], true
		out.NextKeyMarker, out.NextUploadIDMarker = out.Uploads[limit-1].Key, out.Uploads[limit-1].UploadID
	}
	return out, nil
}

func (o *objects) ListParts(bucket, key string, id gofakes3.UploadID, marker int, limit int64) (*gofakes3.ListMultipartUploadPartsResult, error) {
	if _, err := o.upload(bucket, key, id); err != nil {
		return nil, err
	}
	all, err := o.parts(id)
	if err != nil {
		return nil, err
	}
	out := &gofakes3.ListMultipartUploadPartsResult{Bucket: bucket, Key: key, UploadID: id, StorageClass: gofakes3.StorageStandard, PartNumberMarker: marker, MaxParts: limit}
	for _, p := range all {
		switch {
		case p.number <= marker:
		case int64(len(out.Parts)) == limit:
			out.IsTruncated = true
		default:
			out.Parts = append(out.Parts, gofakes3.ListMultipartUploadPartItem{PartNumber: p.number, ETag: gofakes3.FormatETag(p.Hash), Size: p.Size, LastModified: gofakes3.NewContentTime(p.Modified)})
			out.NextPartNumberMarker = p.number
		}
	}
	return out, nil
}

// store writes bytes to a file of their own.
func (o *objects) store(input io.Reader, size int64) (*object, error) {
	file, err := os.CreateTemp(o.dir, "")
	if err != nil {
		return nil, err
	}
	hash := md5.New()
	n, err := io.Copy(io.MultiWriter(file, hash), input)
	err = errors.Join(err, file.Close())
	if err == nil && n != size {
		err = gofakes3.ErrIncompleteBody
	}
	if err != nil {
		os.Remove(file.Name())
		return nil, err
	}
	return &object{File: filepath.Base(file.Name()), Size: n, Hash: hash.Sum(nil), Modified: time.Now()}, nil
}
