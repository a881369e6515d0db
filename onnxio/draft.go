package onnxio

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// draft is a file that is being written under another name in the folder
// where it will stand.
type draft struct {
	file *os.File
	path string // where it will stand
}

func newDraft(path string) (*draft, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is not a regular file (%v)", path, info.Mode().Type())
	}
	dir, base := filepath.Split(path)
	for {
		name := fmt.Sprintf("%s.%s.%08x.tmp", dir, base, rand.Uint32())
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			return &draft{file: f, path: path}, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
}

// drafts are files that appear together, or not at all if something fails
// before the last is written.
type drafts []*draft

func (ds *drafts) add(path string) (*draft, error) {
	d, err := newDraft(path)
	if err == nil {
		*ds = append(*ds, d)
	}
	return d, err
}

// commit makes the files permanent and gives them their names, in order.
func (ds drafts) commit() error {
	for _, d := range ds {
		if err := d.file.Sync(); err != nil {
			return err
		}
		if err := d.file.Close(); err != nil {
			return err
		}
	}
	for _, d := range ds {
		if err := os.Rename(d.file.Name(), d.path); err != nil {
			return err
		}
		syncFolder(filepath.Dir(d.path))
	}
	return nil
}

// discard removes what commit has not renamed.
func (ds drafts) discard() {
	for _, d := range ds {
		d.file.Close()
		os.Remove(d.file.Name())
	}
}

// syncFolder makes a new name permanent where the system can do that.
func syncFolder(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = f.Sync() // some systems refuse: the file itself is safe
		f.Close()
	}
}
