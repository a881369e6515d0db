//go:build !(linux && amd64)

package main

import "errors"

func hold(profile, library string) error {
	return errors.New("-hold: ONNX Runtime can be held to fewer instructions on Linux for amd64 only")
}
