// Package proto is the generated Go form of recovery.proto, the wire contract of recovery plugins.
package proto

//go:generate protoc --proto_path=. --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative recovery.proto
