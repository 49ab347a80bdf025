package diagnose

import (
	"fmt"
	"regexp"
	"strconv"
)

// Who has to do something about an XID.
const (
	xidProgram  = "program"
	xidHardware = "hardware"
	xidDriver   = "driver"
	xidFollows  = "follows"
)

// xid is a report of NVIDIA's driver.
type xid struct {
	text string
	// blame is one of the constants xid...
	blame string
}

// xids are the codes that training meets, by NVIDIA's XID documentation (docs.nvidia.com/deploy/xid-errors): what it is,
// and whether the program, the device, the driver or an earlier error is to blame first.
var xids = map[int]xid{
	8:   {"GPU stopped processing", xidProgram},
	11:  {"invalid or corrupted push buffer stream", xidProgram},
	13:  {"graphics engine exception: an illegal address or instruction, most often of the program", xidProgram},
	31:  {"GPU memory page fault: an illegal address, most often of the program", xidProgram},
	32:  {"invalid or corrupted push buffer stream: the driver, or the PCIe bus", xidDriver},
	38:  {"driver firmware error", xidDriver},
	43:  {"GPU stopped processing: the program met a fault and was ended", xidProgram},
	45:  {"preemptive cleanup: the program ended because of an earlier error", xidFollows},
	46:  {"GPU stopped processing, and needs a reset", xidHardware},
	48:  {"double bit ECC error: memory of the device failed", xidHardware},
	61:  {"internal micro-controller breakpoint", xidHardware},
	62:  {"internal micro-controller halt", xidHardware},
	63:  {"ECC page retirement or row remapping is recorded: takes effect with the next reset", xidHardware},
	64:  {"ECC page retirement or row remapping failed", xidHardware},
	68:  {"video decoder exception", xidProgram},
	69:  {"graphics engine class error", xidDriver},
	74:  {"NVLink error: a link between GPUs, or its switch", xidHardware},
	79:  {"GPU has fallen off the bus", xidHardware},
	92:  {"high rate of single bit ECC errors", xidHardware},
	94:  {"contained ECC error: the program that used the memory was ended, others go on", xidHardware},
	95:  {"uncontained ECC error: the device must be reset", xidHardware},
	109: {"context switch timeout", xidDriver},
	110: {"security fault", xidHardware},
	119: {"GSP RPC timeout: the GPU's system processor does not answer the driver", xidDriver},
	120: {"GSP error: the GPU's system processor failed", xidDriver},
	121: {"C2C link error", xidHardware},
	136: {"link training failed", xidHardware},
	137: {"NVLink privilege or remote access fault, most often of the program", xidProgram},
	140: {"unrecovered ECC error", xidHardware},
	143: {"GPU initialization failed", xidHardware},
	144: {"NVLink SAW error", xidHardware},
	145: {"NVLink RLW error", xidHardware},
	149: {"NVLink NETIR error", xidHardware},
	154: {"the driver says how the GPU recovers: a reset, or a reboot of the node", xidHardware},
}

// XID is what a code of NVIDIA's driver means; empty when it is not in the table.
func XID(code int) string { return xids[code].text }

// xidText finds "NVRM: Xid (PCI:0000:3b:00): 79, pid=..., GPU has fallen off the bus." and what others make of it: "XID
// 79", "Xid error 31".
var xidText = regexp.MustCompile(`(?i)\bxid(?:\s*\(([^)]*)\))?(?:\s+errors?)?[\s:=#]+(\d{1,3})\b(?:[,:]?\s*(.*))?`)

// xidCause is the cause that a line with an XID tells; node is where it happened, empty when unknown.
func (e *Evidence) xidCause(m []string, node string) (Cause, bool) {
	code, err := strconv.Atoi(m[2])
	if err != nil || code == 0 {
		return Cause{}, false
	}
	x, known := xids[code]
	if !known {
		x = xid{"a report of the NVIDIA driver that is not in the table of this program", xidDriver}
	}
	c := cause(Certain, "XID", fmt.Sprintf("XID %d: %s", code, x.text))
	if m[1] != "" {
		c.Title += " (" + m[1] + ")"
	}
	if !known || x.blame == xidFollows {
		c.Likelihood = Likely
	}
	switch x.blame {
	case xidProgram:
		c = c.cures(e.change("find the illegal access: run once with CUDA_LAUNCH_BLOCKING=1, or under compute-sanitizer"))
		return c.cures(e.again("if it comes back on one node only, that GPU is at fault; try elsewhere")), true
	case xidFollows:
		return c.cure("look for the error before it, in this log and the others", "kubectl ml logs "+e.Work.KindName()), true
	}
	if node != "" {
		c = c.cure("keep new pods away from the node until the GPU was reset or replaced (dcgmi diag -r 3 tells)", "kubectl cordon "+node)
	} else {
		c = c.cure("have the GPU reset or replaced, and keep new pods away from its node until then (dcgmi diag -r 3 tells)", "kubectl cordon NODE")
	}
	return c.cures(e.again("then start it again; it goes to another node")), true
}
