package graph

import (
	"fmt"
	"strings"
)

// SyntaxError is a place in a text that cannot be read, with what was
// expected there.
type SyntaxError struct {
	Line, Column int // from 1; columns count bytes
	Message      string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message)
}

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokIdent
	tokInt
	tokFloat
	tokString
	tokPunct // one byte, or "..."
)

type token struct {
	kind tokenKind
	text string // of a string, its contents
	pos  int    // offset in the text
}

// String describes the token for messages.
func (t token) String() string {
	switch t.kind {
	case tokEnd:
		return "the end of the text"
	case tokString:
		return fmt.Sprintf("string %q", shorten(t.text))
	}
	return fmt.Sprintf("%q", shorten(t.text))
}

func shorten(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// lexer cuts a text into tokens.
type lexer struct {
	text string
	at   int
}

func (l *lexer) errorAt(pos int, format string, args ...any) *SyntaxError {
	before := l.text[:pos]
	return &SyntaxError{
		Line:    strings.Count(before, "\n") + 1,
		Column:  pos - strings.LastIndexByte(before, '\n'),
		Message: fmt.Sprintf(format, args...),
	}
}

// next returns the next token; white space and comments from # to the end of
// the line are skipped.
func (l *lexer) next() (token, *SyntaxError) {
	l.skip()
	if l.at == len(l.text) {
		return token{kind: tokEnd, pos: l.at}, nil
	}
	switch c := l.text[l.at]; {
	case isLetter(c):
		return l.take(tokIdent, l.run(l.at, isIdentByte)), nil
	case isDigit(c):
		return l.number(l.at), nil
	case c == '-':
		return l.negative()
	case c == '"':
		return l.str()
	}
	if strings.HasPrefix(l.text[l.at:], "...") {
		return l.take(tokPunct, l.at+3), nil
	}
	return l.take(tokPunct, l.at+1), nil
}

func (l *lexer) skip() {
	for l.at < len(l.text) {
		switch c := l.text[l.at]; {
		case c == ' ' || '\t' <= c && c <= '\r':
			l.at++
		case c == '#':
			l.at = l.run(l.at, func(c byte) bool { return c != '\n' })
		default:
			return
		}
	}
}

func isIdentByte(c byte) bool { return isLetter(c) || isDigit(c) }

// run returns the offset of the first byte from at on that is not in the set.
func (l *lexer) run(at int, in func(byte) bool) int {
	for at < len(l.text) && in(l.text[at]) {
		at++
	}
	return at
}

func (l *lexer) take(kind tokenKind, end int) token {
	t := token{kind, l.text[l.at:end], l.at}
	l.at = end
	return t
}

// number reads digits[.digits][e[+-]digits], whose digits start at from.
func (l *lexer) number(from int) token {
	kind := tokInt
	end := l.run(from, isDigit)
	if end < len(l.text) && l.text[end] == '.' {
		kind = tokFloat
		end = l.run(end+1, isDigit)
	}
	if end < len(l.text) && (l.text[end] == 'e' || l.text[end] == 'E') {
		kind = tokFloat
		end++
		if end < len(l.text) && (l.text[end] == '+' || l.text[end] == '-') {
			end++
		}
		end = l.run(end, isDigit)
	}
	return l.take(kind, end)
}

// negative reads a number or the name of a special float after a minus sign.
func (l *lexer) negative() (token, *SyntaxError) {
	from := l.at + 1
	switch {
	case from < len(l.text) && isDigit(l.text[from]):
		return l.number(from), nil
	case from < len(l.text) && isLetter(l.text[from]):
		if end := l.run(from, isIdentByte); isSpecialFloat(l.text[from:end]) {
			return l.take(tokFloat, end), nil
		}
	}
	return token{}, l.errorAt(l.at, `expected a number, "inf" or "nan" after "-"`)
}

// isSpecialFloat reports whether s, without sign, names an infinity or NaN.
func isSpecialFloat(s string) bool {
	switch strings.ToLower(s) {
	case "inf", "infinity", "nan":
		return true
	}
	return false
}

// str reads a quoted string, in which a backslash makes the next byte stand
// for itself.
func (l *lexer) str() (token, *SyntaxError) {
	start := l.at
	at := start + 1
	var b strings.Builder
	for {
		end := l.run(at, func(c byte) bool { return c != '"' && c != '\\' })
		switch {
		case end >= len(l.text) || l.text[end] == '\\' && end+1 == len(l.text):
			return token{}, l.errorAt(start, "string has no end")
		case l.text[end] == '\\':
			b.WriteString(l.text[at:end])
			b.WriteByte(l.text[end+1])
			at = end + 2
		default:
			b.WriteString(l.text[at:end])
			l.at = end + 1
			return token{tokString, b.String(), start}, nil
		}
	}
}
