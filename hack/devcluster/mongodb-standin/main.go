// Command docker-entrypoint lets the MongoDB stand-in take the place of the
// official mongo image: it understands the arguments and the environment that
// image is started with and becomes secantusd-rs with the same meaning.
//
// As in the official image, MONGO_INITDB_ROOT_USERNAME and _PASSWORD make it
// create that user on an empty data directory and demand authentication.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const server = "/usr/local/bin/secantusd-rs"

// options are the mongod arguments that have a meaning here.
type options struct {
	host, port, dbpath string
	auth, replicaSet   bool
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mongodb stand-in:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	user, password := os.Getenv("MONGO_INITDB_ROOT_USERNAME"), os.Getenv("MONGO_INITDB_ROOT_PASSWORD")
	if user != "" && password != "" {
		o.auth = true
		// Written last, so that a first start cut short is done again.
		done := filepath.Join(o.dbpath, "root-user-created")
		if _, err := os.Stat(done); err != nil {
			if err := initialise(o, user, password); err != nil {
				return err
			}
			if err := os.WriteFile(done, nil, 0o600); err != nil {
				return err
			}
		}
	}
	return syscall.Exec(server, append([]string{server}, o.serverArgs()...), os.Environ())
}

func parse(args []string) (options, error) {
	o := options{host: "127.0.0.1", port: "27017", dbpath: "/data/db"}
	if len(args) > 0 && args[0] == "mongod" {
		args = args[1:]
	}
	for i := 0; i < len(args); i++ {
		flag, value, inline := strings.Cut(args[i], "=")
		take := func() string {
			if !inline && i+1 < len(args) {
				i++
				value = args[i]
			}
			return value
		}
		switch flag {
		case "--bind_ip_all":
			o.host = "0.0.0.0"
		case "--bind_ip":
			o.host = "0.0.0.0"
			take()
		case "--port":
			o.port = take()
		case "--dbpath":
			o.dbpath = take()
		case "--auth":
			o.auth = true
		case "--replSet":
			o.replicaSet = true
			take()
		// nothing to say to the stand-in
		case "--wiredTigerCacheSizeGB", "--setParameter":
			take()
		case "--quiet":
		default:
			return o, fmt.Errorf("argument %q is not known to the stand-in", args[i])
		}
	}
	return o, nil
}

func (o options) serverArgs() []string {
	args := []string{
		"--host", o.host, "--port", o.port, "--storage-path", o.dbpath, "--cache-size", "256M",
		// Without it acknowledged writes are lost when the process is killed.
		"--sync-on-commit",
	}
	if !o.replicaSet {
		args = append(args, "--standalone")
	}
	if o.auth {
		args = append(args, "--auth")
	}
	return args
}

// initialise runs the server on loopback only, without authentication, for as
// long as it takes to create the root user.
func initialise(o options, user, password string) error {
	o.host, o.auth = "127.0.0.1", false
	child := exec.Command(server, o.serverArgs()...)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		return err
	}
	err := createUser(net.JoinHostPort(o.host, o.port), user, password)
	_ = child.Process.Signal(syscall.SIGTERM)
	return errors.Join(err, child.Wait())
}

func createUser(address, user, password string) error {
	var conn net.Conn
	var err error
	for range 300 {
		if conn, err = net.Dial("tcp", address); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("the server did not listen within 30 s: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write(message(createUserCommand(user, password))); err != nil {
		return err
	}
	reply, err := readReply(conn)
	if err != nil {
		return err
	}
	// BSON of {ok: 1.0}. A user left by a first start that was cut short is as good.
	if strings.Contains(reply, "\x01ok\x00\x00\x00\x00\x00\x00\x00\xf0\x3f") ||
		strings.Contains(reply, "already exists") {
		return nil
	}
	return fmt.Errorf("createUser was refused: %q", reply)
}

func createUserCommand(user, password string) []byte {
	return document(
		text("createUser", user), text("pwd", password),
		array("roles", text("0", "root")), text("$db", "admin"),
	)
}

// message frames a command as OP_MSG with one section.
func message(body []byte) []byte {
	m := binary.LittleEndian.AppendUint32(nil, uint32(16+4+1+len(body)))
	m = binary.LittleEndian.AppendUint32(m, 1) // request ID
	m = binary.LittleEndian.AppendUint32(m, 0) // in reply to
	m = binary.LittleEndian.AppendUint32(m, 2013)
	m = binary.LittleEndian.AppendUint32(m, 0) // flags
	return append(append(m, 0), body...)
}

func readReply(r io.Reader) (string, error) {
	size := make([]byte, 4)
	if _, err := io.ReadFull(r, size); err != nil {
		return "", err
	}
	n := binary.LittleEndian.Uint32(size)
	if n < 21 || n > 1<<20 {
		return "", fmt.Errorf("reply of %d bytes", n)
	}
	rest := make([]byte, n-4)
	_, err := io.ReadFull(r, rest)
	return string(rest), err
}

// The three kinds of BSON that createUser needs.

func document(elements ...[]byte) []byte {
	var body []byte
	for _, e := range elements {
		body = append(body, e...)
	}
	d := binary.LittleEndian.AppendUint32(nil, uint32(4+len(body)+1))
	return append(append(d, body...), 0)
}

func text(key, value string) []byte {
	e := append([]byte{0x02}, key...)
	e = binary.LittleEndian.AppendUint32(append(e, 0), uint32(len(value)+1))
	return append(append(e, value...), 0)
}

func array(key string, elements ...[]byte) []byte {
	e := append([]byte{0x04}, key...)
	return append(append(e, 0), document(elements...)...)
}
