package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Sizes of a character cell and of the frame, in pixels.
const (
	cellWidth, cellHeight = 8.4, 18
	margin, titleBar      = 16, 28
)

// colours of the tones, for the dark frame of the picture.
var colours = map[string]string{"1": "#ffffff", "2": "#7d8590", "31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "36": "#79c0ff"}

// pictures draws every captured terminal screen (NAME.ansi, from `tmux capture-pane -ep`) in dir as NAME.svg.
func pictures(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.ansi"))
	if err != nil {
		return fmt.Errorf("look for captured screens: %w", err)
	}
	for _, file := range files {
		screen, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read a captured screen: %w", err)
		}
		target := strings.TrimSuffix(file, ".ansi") + ".svg"
		if err := os.WriteFile(target, picture(string(screen)), 0o644); err != nil {
			return fmt.Errorf("write a picture: %w", err)
		}
	}
	return nil
}

func picture(screen string) []byte {
	lines := strings.Split(strings.TrimRight(screen, "\n"), "\n")
	columns := 0
	for _, l := range lines {
		columns = max(columns, ansi.StringWidth(l))
	}
	width := float64(columns)*cellWidth + 2*margin
	height := len(lines)*cellHeight + titleBar + margin
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="14">`+"\n", width, height)
	b.WriteString(`<rect width="100%" height="100%" rx="8" fill="#0d1117"/>` + "\n")
	for i, c := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="14" r="5" fill="%s"/>`+"\n", margin+4+i*18, c)
	}
	for row, l := range lines {
		y := titleBar + row*cellHeight + 13
		column := 0
		for _, s := range spans(l) {
			if text := strings.TrimRight(s.text, " "); text != "" {
				fmt.Fprintf(&b, `<text xml:space="preserve" x="%.1f" y="%d" fill="%s" textLength="%.1f">`, margin+float64(column)*cellWidth, y, s.fill, float64(ansi.StringWidth(text))*cellWidth)
				_ = xml.EscapeText(&b, []byte(text)) // a buffer takes every write
				b.WriteString("</text>\n")
			}
			column += ansi.StringWidth(s.text)
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

type span struct{ text, fill string }

var sgr = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// spans takes a line apart where its colour changes.
func spans(line string) []span {
	const plain = "#c9d1d9"
	fill := plain
	var out []span
	for {
		at := sgr.FindStringSubmatchIndex(line)
		if at == nil {
			return append(out, span{line, fill})
		}
		out = append(out, span{line[:at[0]], fill})
		for code := range strings.SplitSeq(line[at[2]:at[3]], ";") {
			switch c, ok := colours[code]; {
			case ok:
				fill = c
			case code == "" || code == "0" || code == "39" || code == "22":
				fill = plain
			}
		}
		line = line[at[1]:]
	}
}
