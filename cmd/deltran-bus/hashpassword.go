package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/term"
)

// hashPassword prints the bcrypt hash of a password, which it asks for twice or reads from its standard input. Its cost is
// bcrypt's default: a reload checks the password of every client that is connected.
func hashPassword(c *cli.Context) error {
	if c.NArg() > 0 { // and do not repeat it
		return misuse("a password among the arguments has been seen by everybody on this machine, and stays in the shell's history: choose another, and type it when asked, or send it to the standard input")
	}
	password, err := readPassword(c)
	if err != nil {
		return err
	}
	switch n := len(password); {
	case n == 0:
		return misuse("the password is empty")
	case n > 72:
		return misuse("the password has %d bytes, and bcrypt takes 72 of them; use a shorter one", n)
	case n < 12:
		fmt.Fprintf(c.App.ErrWriter, "note: %d characters can be guessed; a program's password can as well be long\n", n)
	}
	hash, err := bcrypt.GenerateFromPassword(password, bcrypt.DefaultCost)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s\n", hash)
	return err
}

func readPassword(c *cli.Context) ([]byte, error) {
	in, isFile := c.App.Reader.(*os.File)
	if !isFile || !term.IsTerminal(int(in.Fd())) {
		line, err := unless(c.Context, func() (string, error) { return bufio.NewReader(io.LimitReader(c.App.Reader, 4096)).ReadString('\n') })
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		return []byte(strings.TrimRight(line, "\r\n")), nil
	}
	ask := func(what string) ([]byte, error) {
		fmt.Fprint(c.App.ErrWriter, what)
		defer fmt.Fprintln(c.App.ErrWriter)
		return term.ReadPassword(int(in.Fd()))
	}
	once, err := ask("password: ")
	if err != nil {
		return nil, err
	}
	again, err := ask("again:    ")
	if err == nil && string(once) != string(again) {
		err = errors.New("the two are not the same")
	}
	return once, err
}
