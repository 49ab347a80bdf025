// Package examples holds the pipelines that the documentation walks through and that `kubectl ml init` writes out:
// one copy, so that what people read is what they get.
package examples

import "embed"

// Templates has a folder for each template of init. What only the sandbox's simulated nodes can run is not in it.
//
//go:embed all:blank all:distributed all:pytorch-gpu all:house-prices/stages house-prices/README.md house-prices/pipeline.yaml house-prices/sweep.yaml house-prices/serve.yaml
var Templates embed.FS
