package fleet

import (
	"fmt"
	"math"
	"strings"
)

// script is what a container logs, over the time that it runs.
type script []string

// lines makes a script of n lines; each is told how far the training is, from 0 to 1.
func lines(n int, line func(done float64) string) script {
	s := make(script, n)
	for i := range s {
		s[i] = line(float64(i+1) / float64(n))
	}
	return s
}

// loss falls as it should, with the noise of batches.
func loss(done float64) float64 {
	return 0.21 + 2.1*math.Exp(-5*done) + 0.05*math.Sin(97*done)*math.Exp(-2*done) + 0.02*math.Sin(517*done)
}

func accuracy(done float64) float64 { return 0.94 - 0.8*math.Exp(-4*done) }

// bar is a progress bar as tqdm draws it.
func bar(done float64) string {
	full := int(done * 10)
	return fmt.Sprintf("%3.0f%%|%s%s|", done*100, strings.Repeat("█", full), strings.Repeat(" ", 10-full))
}

// within is how far an epoch of several is, and its number from 0.
func within(done float64, epochs int) (epoch int, part float64) {
	at := done * float64(epochs)
	epoch = min(int(at), epochs-1)
	return epoch, at - float64(epoch)
}

func marked(n, steps int) script {
	return lines(n, func(done float64) string {
		return fmt.Sprintf(`::ml:: {"step": %d, "total": %d, "loss": %.4f, "lr": %.3g, "tokens_per_second": %.0f}`,
			int(done*float64(steps)), steps, loss(done), 3e-4*(1-0.9*done), 41000+900*math.Sin(31*done))
	})
}

func tqdm(n, steps int) script {
	return lines(n, func(done float64) string {
		at := int(done * float64(steps))
		return fmt.Sprintf("train: %s %d/%d [%02d:%02d<%02d:%02d,  2.08it/s, loss=%.3f]", bar(done), at, steps, at/2/60, at/2%60, (steps-at)/2/60, (steps-at)/2%60, loss(done))
	})
}

func huggingFace(n, epochs int) script {
	return lines(n, func(done float64) string {
		return fmt.Sprintf("{'loss': %.4f, 'grad_norm': %.3f, 'learning_rate': %.3g, 'epoch': %.2f}", loss(done), 0.8+0.3*math.Sin(40*done), 5e-5*(1-done), done*float64(epochs))
	})
}

func lightning(n, epochs int) script {
	const batches = 800
	return lines(n, func(done float64) string {
		epoch, part := within(done, epochs)
		return fmt.Sprintf("Epoch %d: %s %d/%d [01:12<00:31,  7.71it/s, v_num=3, train_loss=%.3f]", epoch, bar(part), int(part*batches), batches, loss(done))
	})
}

func keras(n, epochs int) script {
	const batches = 1875
	before := -1
	return lines(n, func(done float64) string {
		epoch, part := within(done, epochs)
		if epoch != before {
			before = epoch
			return fmt.Sprintf("Epoch %d/%d", epoch+1, epochs)
		}
		return fmt.Sprintf("%d/%d ━━━━━━━━━━━━━━━━━━━━ 3s 2ms/step - accuracy: %.4f - loss: %.4f", int(part*batches), batches, accuracy(done), loss(done))
	})
}

func plain(n, epochs int) script {
	return lines(n, func(done float64) string {
		epoch, _ := within(done, epochs)
		return fmt.Sprintf("epoch %d/%d loss=%.4f val_acc=%.3f", epoch+1, epochs, loss(done), accuracy(done))
	})
}

func waitingForData() script {
	return append(marked(4, 20000)[:1], "waiting for the next shard of s3://corpus/2026-q3 ...", "waiting for the next shard of s3://corpus/2026-q3 ...")
}

func loadsData() script {
	return script{"loading train.parquet into memory", "  41.2 GiB read", "  58.9 GiB read", "  63.7 GiB read"}
}

func keyError() script {
	return append(plain(3, 10), traceback("train.py", 88, "batch = next(loader)", "KeyError: 'input_ids'")...)
}

func cudaOutOfMemory() script {
	return append(plain(3, 10), traceback("train.py", 131, "loss.backward()",
		"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.15 GiB of which 13.38 GiB is free. "+
			"Including non-PyTorch memory, this process has 65.77 GiB memory in use.")...)
}

func traceback(file string, line int, code, text string) script {
	return script{"Traceback (most recent call last):", fmt.Sprintf("  File \"/ml/src/%s\", line %d, in <module>", file, line), "    " + code, text}
}

func ncclTimeout() script {
	return append(plain(3, 10),
		"[rank1]:[E1123 10:31:02.117 ProcessGroupNCCL.cpp:632] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=4711, OpType=ALLREDUCE, NumelIn=26214400, NumelOut=26214400, Timeout(ms)=600000) ran for 600042 milliseconds before timing out.",
		"[rank1]:[E1123 10:31:02.118 ProcessGroupNCCL.cpp:684] [Rank 1] To avoid data inconsistency, we are taking the entire process down.",
		"terminate called after throwing an instance of 'c10::DistBackendError'")
}

func xid79() script {
	return append(plain(3, 10),
		"NVRM: Xid (PCI:0000:3b:00): 79, pid=2317, name=python3, GPU has fallen off the bus.",
		"RuntimeError: CUDA error: unspecified launch failure")
}
