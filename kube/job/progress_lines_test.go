package job

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestLinesOfTrainers: lines as trainers print them, from their documentation and from logs that people published.
func TestLinesOfTrainers(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		// tqdm in every dress.
		{"100%|██████████| 1618/1618 [02:33<00:00, 10.57it/s]", "tqdm step=1618/1618 epoch=-1/-1 100%"},
		{"100% 16/16 [00:15<00:00,  1.05it/s, loss=0.232]", "tqdm step=16/16 epoch=-1/-1 100% loss=0.232"},
		{"Map:  12%|█▏        | 1.2k/10k [00:02<00:15, 570 examples/s]", `tqdm step=1200/10000 epoch=-1/-1 12% "Map"`},
		{"12.5kit [00:10, 1.20kit/s]", "tqdm step=12500/-1 epoch=-1/-1 -1%"},
		{"Epoch 0: |          | 1/? [00:20<00:00,  0.05it/s, v_num=0, train_loss=14.60]", `lightning step=1/-1 epoch=0/-1 -1% "Epoch 0" train_loss=14.6`},
		{"1|45|Loss: 2.31:  45%|████▌     | 45/100 [01:10<01:12,  1.4s/it]", `tqdm step=45/100 epoch=1/-1 45% "1|45|Loss: 2.31" Loss=2.31`},
		// Lightning 2 with tqdm and with Rich.
		{"Epoch 7:   5%|▌         | 3/58 [00:08<02:34,  2.82s/it, v_num=0, train_loss_step=0.148, val_loss=0.190, train_loss_epoch=0.152]", `lightning step=3/58 epoch=7/-1 5.172% "Epoch 7" train_loss_step=0.148 val_loss=0.19 train_loss_epoch=0.152`},
		{"Epoch 3/9  ━━━━━━━━━━━━╸━━━ 12/27 0:00:01 • 0:00:02 23.51it/s v_num: 0.000 train_loss: 0.123", `lightning step=12/27 epoch=3/10 34.44% "Epoch 3/9" train_loss=0.123`},
		{"Validation DataLoader 0:  45%|████▌     | 45/100 [00:10<00:12,  4.4it/s, val_loss=0.3]", "tqdm step=-1/-1 epoch=-1/-1 -1% val_loss=0.3"},
		{"Evaluating:  45%|████▌     | 45/100 [00:10<00:12,  4.4it/s, loss=0.3]", "tqdm step=-1/-1 epoch=-1/-1 -1% val_loss=0.3"},
		// Ultralytics' own bar.
		{"1/150      6.37G      1.313      1.365      1.567         35        640: 39% ━━━━╸─────── 60/154 2.1it/s 29.3s<44.8s", `tqdm step=60/154 epoch=-1/-1 38.96% "1/150      6.37G      1.313      1.365      1.567         35        640"`},
		// The Hugging Face Trainer, alone, behind its bar, and with what ms-swift adds.
		{"{'eval_loss': 0.6, 'eval_runtime': 2.5, 'eval_samples_per_second': 40.1, 'epoch': 1.0}", "huggingface step=-1/-1 epoch=1/-1 -1% eval_loss=0.6 eval_runtime=2.5 eval_samples_per_second=40.1"},
		{"[  222.6s] {'loss': '5.072', 'grad_norm': '20.19', 'learning_rate': '0', 'epoch': '0.009302'}", "huggingface step=-1/-1 epoch=0.009302/-1 -1% loss=5.072 grad_norm=20.19 learning_rate=0"},
		{"Train:   2%|▏         | 1/60 [00:42<41:47, 42.51s/it]{'loss': '0.3713', 'token_acc': '0.921', 'epoch': '0.08602', 'global_step/max_steps': '1/60', 'elapsed_time': '43s', 'remaining_time': '41m 48s', 'memory(GiB)': '14.3', 'train_speed(s/it)': '42.51'}", "huggingface step=1/60 epoch=0.08602/-1 1.667% loss=0.3713 token_acc=0.921 memory(GiB)=14.3"},
		{" 10%|█         | 10/100 [00:42<41:47, 42.51s/it]{'loss': 0.5, 'epoch': 0.1}", "huggingface step=10/100 epoch=0.1/-1 10% loss=0.5"},
		{"{'train_runtime': '70.47', 'train_samples_per_second': '1.277', 'train_loss': '2.286', 'epoch': '1'}", "huggingface step=-1/-1 epoch=1/-1 -1% train_runtime=70.47 train_samples_per_second=1.277 train_loss=2.286"},
		// Keras.
		{"250/250 ━━━━━━━━ 10s 12ms/step - accuracy: 0.7581 - loss: 9.3199e-04 - val_accuracy: 0.9960 - val_loss: 0.0189", "keras step=250/250 epoch=-1/-1 100% accuracy=0.7581 loss=0.00093199 val_accuracy=0.996 val_loss=0.0189"},
		{"11/11 - 0s - 8ms/step - accuracy: 0.9970 - loss: 0.0080", "keras step=11/11 epoch=-1/-1 100% accuracy=0.997 loss=0.008"},
		// Plain words.
		{"Epoch [3/10], Step [100/600], Loss: 0.2", "text step=100/600 epoch=3/10 21.67% Loss=0.2"},
		{"Epoch: [0][  10/5005]\tTime  0.5 ( 1.0)\tData  0.1 ( 0.2)\tLoss 6.9e+00 (7.0e+00)\tAcc@1   0.00 (  0.10)", "text step=10/5005 epoch=0/-1 0.1998% Loss=6.9 Acc@1=0"},
		{"Epoch: [0]  [  10/1000]  eta: 0:10:00  lr: 0.01  loss: 1.2 (1.3)  time: 0.6  data: 0.1", "text step=10/1000 epoch=0/-1 1% lr=0.01 loss=1.2 data=0.1"},
		{"Train: 0 [  50/1251 (  4%)]  Loss: 6.86 (6.95)  Time: 0.320s,  400.32/s  (0.470s,  272.39/s)  LR: 1.000e-05  Data: 0.217 (0.047)", "text step=50/1251 epoch=0/-1 3.997% Loss=6.86 LR=1e-05 Data=0.217"},
		{"02/20 14:43:11 - mmengine - INFO - Epoch(train)   [1][ 100/3125]  lr: 1.0000e-01  eta: 6:12:01  time: 0.0149  data_time: 0.0003  memory: 214  loss: 2.0611", "text step=100/3125 epoch=1/-1 3.2% lr=0.1 memory=214 loss=2.0611"},
		{"11/08 15:58:16 - mmengine - INFO - Epoch(train) [1][   50/30895]  lr: 7.9760e-05  eta: 2 days, 7:32:05  time: 1.0788  grad_norm: nan  loss: 859.5978", "text step=50/30895 epoch=1/-1 0.1618% lr=7.976e-05 loss=859.5978 grad_norm!"},
		{"06/11 03:36:18 - mmengine - INFO - Epoch(val) [40][13/13]  coco/bbox_mAP: 0.123  data_time: 0.01", "text step=-1/-1 epoch=40/-1 -1% val_coco/bbox_mAP=0.123"},
		{"[10/01 12:00:00 d2.utils.events]:  eta: 0:10:00  iter: 19  total_loss: 1.2  loss_cls: 0.7  lr: 0.00025  max_mem: 2000M", "text step=19/-1 epoch=-1/-1 -1% total_loss=1.2 loss_cls=0.7 lr=0.00025"},
		{"2021-02-22 08:40:43,913 epoch 1 - iter 21/219 - loss 14.28931536 - samples/sec: 19.11 - lr: 0.000500", "text step=21/219 epoch=1/-1 9.589% samples/sec=19.11 lr=0.0005 loss=14.28931536"},
		{"[rank0]:[titan] 2025-10-30 20:35:34,953 - root - INFO - step: 50  loss:  7.1839  grad_norm:  0.9971  memory: 52.53GiB(66.33%)  tps: 11,481  tflops: 207.87  mfu: 21.02%", "text step=50/-1 epoch=-1/-1 -1% loss=7.1839 grad_norm=0.9971 tps=11481 tflops=207.87 mfu=21.02"},
		{"completed step: 10, seconds: 13.360, TFLOP/s/device: 305.127, Tokens/s/device: 3679.158, total_weights: 12582912, loss: 10.565", "text step=10/-1 epoch=-1/-1 -1% seconds=13.36 TFLOP/s/device=305.127 Tokens/s/device=3679.158 total_weights=1.2582912e+07 loss=10.565"},
		{"Step 1 | loss:2.3 lr:2e-5 tokens_per_second_per_gpu:1234.5", "text step=1/-1 epoch=-1/-1 -1% loss=2.3 lr=2e-05 tokens_per_second_per_gpu=1234.5"},
		{"\x1b[36m(TaskRunner pid=1)\x1b[0m step:3 - critic/score/mean:0.25 - actor/kl_loss:0.001 - actor/entropy:0.412", "text step=3/-1 epoch=-1/-1 -1% critic/score/mean=0.25 actor/kl_loss=0.001 actor/entropy=0.412"},
		{"INFO:tensorflow:loss = 0.5, step = 100 (1.2 sec)", "text step=100/-1 epoch=-1/-1 -1% loss=0.5"},
		{"[2023-01-02 03:04:05,678] [INFO] [logging.py:96:log_dist] [Rank 0] step=10, skipped=0, lr=[0.0001], mom=[(0.9, 0.999)]", "text step=10/-1 epoch=-1/-1 -1% skipped=0"},
		{"steps: 10 loss: 0.5012 iter time (s): 0.212 samples/sec: 37.73", "text step=10/-1 epoch=-1/-1 -1% loss=0.5012 samples/sec=37.73"},
		{"Iteration 12, loss = 2.30258509", "text step=12/-1 epoch=-1/-1 -1% loss=2.30258509"},
		{"Train | Step:  7 | loss:  0.42 | grad_norm:  0.01", "text step=7/-1 epoch=-1/-1 -1% loss=0.42 grad_norm=0.01"},
		{"Validation | Step:  7 | loss:  0.42", "text step=7/-1 epoch=-1/-1 -1% val_loss=0.42"},
		{"Epoch 3 validation: loss=0.3 acc=0.9", "text step=-1/-1 epoch=3/-1 -1% val_loss=0.3 val_acc=0.9"},
		{"Epoch 3 - Val Loss: 0.3, Train Loss: 0.5", "text step=-1/-1 epoch=3/-1 -1% Val_Loss=0.3 Train_Loss=0.5"},
		{"round 3/10 accuracy=0.81", "text step=3/10 epoch=-1/-1 30% accuracy=0.81"},
		{"epoch 4: loss=nan", "text step=-1/-1 epoch=4/-1 -1% loss!"},
		// Megatron, NeMo and fairseq.
		{" [2025-09-07 23:58:47] iteration      609/  500000 | consumed samples:        19488 | elapsed time per iteration (ms): 438.3 | learning rate: 5.999998E-05 | global batch size:    32 | lm loss: 6.159759E+00 | loss scale: 131072.0 | grad norm: 1.095 | number of nan iterations:   0 |", "text step=609/500000 epoch=-1/-1 0.1218% elapsed_time_per_iteration=438.3 learning_rate=5.999998e-05 lm_loss=6.159759 loss_scale=131072 grad_norm=1.095 number_of_nan_iterations=0"},
		{"[default0]: [2026-09-11 12:06:52.987995] iteration        3/ 7629408 | consumed samples:           96 | throughput per GPU (TFLOP/s/GPU): 26.8 | lm loss: 1.107468E+01 |", "text step=3/7.629408e+06 epoch=-1/-1 3.932e-05% throughput_per_GPU=26.8 lm_loss=11.07468"},
		{" 0: Training epoch 0, iteration 29/99 | lr: 5.8e-06 | global_batch_size: 32 | global_step: 29 | reduced_train_loss: 2.782 | train_step_timing in s: 0.1903 | consumed_samples: 960 | val_loss: 2.861 | val_ppl: 17.57", "text step=29/99 epoch=0/-1 29.29% lr=5.8e-06 reduced_train_loss=2.782 train_step_timing_in_s=0.1903 val_loss=2.861 val_ppl=17.57"},
		{"2023-06-13 17:31:08 | INFO | train_inner | epoch 143:     85 / 282 loss=3.147, nll_loss=1.236, ppl=8.86, wps=72384.3, num_updates=40100, lr=0.000157917", "text step=85/282 epoch=143/-1 30.14% loss=3.147 nll_loss=1.236 ppl=8.86 wps=72384.3 lr=0.000157917"},
		{`2021-01-12 14:35:05 | INFO | train_inner | {"epoch": 3, "update": 2.174, "loss": "9.368", "ppl": "460.11", "num_updates": "300", "lr": "3.75925e-05", "train_wall": "93", "wall": "0"}`, "json step=300/-1 epoch=3/-1 -1% update=2.174 loss=9.368 ppl=460.11 lr=3.75925e-05"},
		// JSON lines: LLaMA-Factory, DLLogger, a structured logger around words.
		{`{"current_steps": 10, "total_steps": 300, "loss": 1.3, "lr": 1e-05, "epoch": 0.1, "percentage": 3.33, "elapsed_time": "0:00:20", "remaining_time": "0:09:40"}`, "json step=10/300 epoch=0.1/-1 3.333% loss=1.3 lr=1e-05"},
		{`DLLL {"timestamp": "1700000000.5", "step": 16, "data": {"loss": 10.91, "lr": 1.2e-06, "epoch": 0}}`, "json step=16/-1 epoch=0/-1 -1% loss=10.91 lr=1.2e-06"},
		{`{"time":"2026-01-01T00:00:00Z","level":"info","msg":"epoch 3/10 loss=0.12"}`, "text step=-1/-1 epoch=3/10 30% loss=0.12"},
		{`{"step": 5, "loss": NaN, "lr": -Infinity, "acc": 0.5}`, "json step=5/-1 epoch=-1/-1 -1% acc=0.5 loss! lr!"},
		{`::ml:: {"step": 5, "loss": NaN, "text": "NaN", "s\"x": 1}`, `ml step=5/-1 epoch=-1/-1 -1% s"x=1 loss! text!`},
		// MLPerf.
		{`0: :::MLLOG {"namespace": "", "time_ms": 1719843792116, "event_type": "POINT_IN_TIME", "key": "tracked_stats", "value": {"throughput": 14214.65}, "metadata": {"file": "run_pretraining.py", "lineno": 1850, "epoch_num": 12}}`, "mlperf step=-1/-1 epoch=12/-1 -1% throughput=14214.65"},
		{`:::MLLOG {"namespace": "", "time_ms": 1, "event_type": "POINT_IN_TIME", "key": "eval_accuracy", "value": 3.29, "metadata": {"file": "x.py", "lineno": 1, "samples_count": 1024}}`, "mlperf step=1024/-1 epoch=-1/-1 -1% eval_accuracy=3.29"},
		// Boosting.
		{"[12]\ttraining-rmse:0.33811\tvalidation-rmse:0.43003", "boosting step=12/-1 epoch=-1/-1 -1% training-rmse=0.33811 validation-rmse=0.43003"},
		{"[0]#011train-rmse:0.473473#011validation-rmse:0.478049", "boosting step=0/-1 epoch=-1/-1 -1% train-rmse=0.473473 validation-rmse=0.478049"},
		{"[20]\ttrain-rmse:0.5+0.01\ttest-rmse:0.6+0.02", "boosting step=20/-1 epoch=-1/-1 -1% train-rmse=0.5 test-rmse=0.6"},
		{"[2089]  valid_0's rmse: 0.0626574       valid_0's l2: 0.00392595", "boosting step=2089/-1 epoch=-1/-1 -1% valid_0_rmse=0.0626574 valid_0_l2=0.00392595"},
		{"[41]\tcv_agg's l2: 0.0988604 + 0.0243197", "boosting step=41/-1 epoch=-1/-1 -1% cv_agg_l2=0.0988604"},
		{"300:\tlearn: 0.9725139\ttest: 0.9474699\tbest: 0.9474699 (300)\ttotal: 48s\tremaining: 1m 51s", "boosting step=300/-1 epoch=-1/-1 -1% learn=0.9725139 test=0.9474699"},
		// Launchers.
		{"[1,0]<stdout>:Epoch 3/10 loss=0.12", "text step=-1/-1 epoch=3/10 30% loss=0.12"},
		{"[trainer3]:Epoch 3/10", "keras step=-1/-1 epoch=3/10 20%"},
	} {
		p, ok := ParseProgress(tc.in)
		if got := brief(p); !ok || got != tc.want {
			t.Errorf("ParseProgress(%q)\n got %s (%t)\nwant %s", tc.in, got, ok, tc.want)
		}
	}
}

// TestLinesThatAreNoProgress: what looks like it in logs of trainings, and is not.
func TestLinesThatAreNoProgress(t *testing.T) {
	for _, in := range []string{
		"***** Running training *****", "  Num Epochs = 3", "  Total optimization steps = 1,000", "num train steps: 500", "max_epochs: 10",
		"saving checkpoint to /data/epoch_3.pt", "Logging every 10 steps.", "2026-01-01 12:00:00 [1/3] cloning", "[1] 4242", "[12] done", "12: learned",
		`{"level":"info","msg":"listening","port":8080}`, `{"step":"download","status":200}`, `{"step":3,"status":200}`, `{"time":1,"loss":0.5}`, `{"a":{"b":{"c":1}}}`,
		`:::MLLOG {"key": "global_batch_size", "value": 8, "metadata": {"lineno": 1}}`, `:::MLLOG {"key": "init_start", "value": null, "metadata": {"epoch_num": 1}}`, ":::MLLOG nonsense",
		"━━━━━━━━━━━━━━━━━━━━", "Total ━━━━ done", "[00:10<00:12, 4.4it/s]", "files 3/10 [00:10, 2 files]", "Iteration time: 2.3", "batch job 7 queued",
		"{'foo': 'bar', 'n': 3}", "{'epoch': 'x'}", "Step 3: Loss of connection", "GET /step/3?loss=0.5x",
	} {
		if p, ok := ParseProgress(in); ok {
			t.Errorf("ParseProgress(%q) = %s", in, brief(p))
		}
	}
}

func TestSpeedAndTimeLeft(t *testing.T) {
	for _, tc := range []struct {
		in   string
		rate float64
		left time.Duration
	}{
		{" 45%|████▌     | 45/100 [00:10<00:12,  4.4it/s]", 4.4, 12 * time.Second},
		{" 45%|████▌     | 45/100 [1:00:10<1:02:03,  2.5s/it]", 0.4, time.Hour + 2*time.Minute + 3*time.Second},
		{"  1%| | 1/100 [00:00<?, ?it/s]", 0, 0},
		{"12.5kit [00:10, 1.20kit/s]", 1200, 0},
		{"45/100 ━━━━━━━ 10s 125ms/step - loss: 0.3", 8, 0},
		{"45/100 [====>....] - ETA: 10s - loss: 0.3", 0, 10 * time.Second},
		{"1/150  6.37G: 39% ━━━━╸─────── 60/154 2.1it/s 29.3s<44.8s", 2.1, 44800 * time.Millisecond},
		{"Epoch(train) [1][50/100]  lr: 0.1  eta: 2 days, 7:32:05  time: 1.07", 0, 55*time.Hour + 32*time.Minute + 5*time.Second},
		{"300:\tlearn: 0.97\ttotal: 48s\tremaining: 1m 51s", 0, 111 * time.Second},
		{`{"current_steps": 10, "loss": 1.3, "remaining_time": "0:09:40"}`, 0, 580 * time.Second},
		{"{'loss': 0.5, 'epoch': 0.1, 'remaining_time': '41m 48s'}", 0, 2508 * time.Second},
	} {
		p, ok := ParseProgress(tc.in)
		if !ok || p.Rate != tc.rate || p.Remaining != tc.left {
			t.Errorf("%q: %t, rate %g, %s left; want %g, %s", tc.in, ok, p.Rate, p.Remaining, tc.rate, tc.left)
		}
	}
}

// TestParser: lines that mean something only together.
func TestParser(t *testing.T) {
	for name, tc := range map[string]struct {
		rank  int
		lines string
		want  []string
	}{
		"fastai": {lines: `
epoch     train_loss  valid_loss  roc_auc_score  time
0         0.571278    1.090870    0.156250       00:23
Better model found at epoch 0 with valid_loss value: 1.0908700227737427.
1         0.377181    1.590721    nan            00:22
Total time: 02:58
7 8 9`, want: []string{
			"table step=-1/-1 epoch=0/-1 -1% train_loss=0.571278 valid_loss=1.09087 roc_auc_score=0.15625",
			"table step=-1/-1 epoch=1/-1 -1% train_loss=0.377181 valid_loss=1.590721 roc_auc_score!",
		}},
		"spaCy": {lines: `
E    #       LOSS TOK2VEC  LOSS NER  ENTS_F  SCORE
---  ------  ------------  --------  ------  ------
  0       0          0.00     44.28    0.00    0.00
 13     200         53.51   2262.98   69.75    0.70`, want: []string{
			"table step=0/-1 epoch=0/-1 -1% LOSS_TOK2VEC=0 LOSS_NER=44.28 ENTS_F=0 SCORE=0",
			"table step=200/-1 epoch=13/-1 -1% LOSS_TOK2VEC=53.51 LOSS_NER=2262.98 ENTS_F=69.75 SCORE=0.7",
		}},
		"YOLO": {lines: `
      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size
       1/50      2.02G      2.314      4.096      1.557         11        640:  50%|█████     | 3/6 [00:01<00:01,  4.30it/s]
                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|██████████| 1/1 [00:00<00:00,  8.19it/s]
                   all          8          8    0.00333          1      0.879      0.464
                   car          4          4    0.1          1      0.8      0.4
      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size
       2/50      2.06G      1.781      4.096      1.557         11        640: 100% ━━━━━━━━━━━━ 6/6 1.6it/s 13.1s`, want: []string{
			"tqdm step=3/6 epoch=1/50 1% box_loss=2.314 cls_loss=4.096 dfl_loss=1.557",
			"table step=-1/-1 epoch=-1/-1 -1% P=0.00333 R=1 mAP50=0.879 mAP50-95=0.464",
			"tqdm step=6/6 epoch=2/50 4% box_loss=1.781 cls_loss=4.096 dfl_loss=1.557",
		}},
		"scikit-learn": {lines: `
      Iter       Train Loss   Remaining Time
         1           1.2613            0.43s
        10           0.8912            0.30s`, want: []string{
			"table step=1/-1 epoch=-1/-1 -1% Train_Loss=1.2613",
			"table step=10/-1 epoch=-1/-1 -1% Train_Loss=0.8912",
		}},
		"Composer": {lines: `
[batch=1/100]:
	 Train time/epoch: 0
	 Train loss/train/total: 10.9736
starting an evaluation`, want: []string{
			"text step=1/100 epoch=-1/-1 1%",
			"text step=-1/-1 epoch=-1/-1 -1% Train_time/epoch=0",
			"text step=-1/-1 epoch=-1/-1 -1% Train_loss/train/total=10.9736",
		}},
		"verl": {lines: `
(TaskRunner pid=15930, ip=10.4.1.33) step:1
 - actor/pg_loss:0.054
 - actor/lr:1e-06`, want: []string{
			"text step=1/-1 epoch=-1/-1 -1%",
			"text step=-1/-1 epoch=-1/-1 -1% actor/pg_loss=0.054",
			"text step=-1/-1 epoch=-1/-1 -1% actor/lr=1e-06",
		}},
		"PyTorch's MNIST": {lines: `
accuracy=0.1
Train Epoch: 1 [640/60000 (1%)]	loss=2.3000
accuracy=0.9664
Test set: Average loss: 0.0480, Accuracy: 9850/10000 (98%)
speed: 12.5
listening=8080 on all`, want: []string{
			"text step=640/60000 epoch=1/-1 1.067% loss=2.3",
			"text step=-1/-1 epoch=-1/-1 -1% accuracy=0.9664",
			"text step=-1/-1 epoch=-1/-1 -1% val_loss=0.048",
		}},
		"mpirun, the first that tells": {rank: AllRanks, lines: `
[1,2]<stdout>:epoch 1/3
[1,1]<stdout>:epoch 1/3 loss=0.5
[1,0]<stdout>:epoch 1/3 loss=0.6
[1,1]<stdout>:epoch 2/3 loss=0.4
all: epoch 3/3 loss=0.3`, want: []string{
			"text step=-1/-1 epoch=1/3 33.33%", "text step=-1/-1 epoch=1/3 33.33% loss=0.5", "text step=-1/-1 epoch=2/3 66.67% loss=0.4", "text step=-1/-1 epoch=3/3 100% loss=0.3",
		}},
		"mpirun, a rank": {rank: 1, lines: `
[1,0]<stdout>:epoch 1/3 loss=0.5
[1,1]<stdout>:epoch 2/3 loss=0.4
epoch 3/3 loss=0.3`, want: []string{
			"text step=-1/-1 epoch=2/3 66.67% loss=0.4", "text step=-1/-1 epoch=3/3 100% loss=0.3",
		}},
	} {
		var r Parser
		var got []string
		for line := range strings.SplitSeq(tc.lines, "\n") {
			if p, ok := r.Parse(line, tc.rank); ok {
				got = append(got, brief(p))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s:\n got %s\nwant %s", name, strings.Join(got, "\n     "), strings.Join(tc.want, "\n     "))
		}
	}
}

func FuzzParser(f *testing.F) {
	f.Add("epoch  train_loss  valid_loss\n0  0.5  0.6\nClass  Images  mAP50: 100%|█| 1/1 [00:00<00:00, 8.19it/s]\nall 1 2", 0)
	f.Add("[batch=1/100]:\n\t Train loss: 10.9\n - a:1", -1)
	f.Add("[1,0]<stdout>: 3: 4: learn: 1\t test: 2", 3)
	f.Fuzz(func(t *testing.T, text string, rank int) {
		var r Parser
		var all Progress
		for line := range strings.SplitSeq(text, "\n") {
			p, ok := r.Parse(line, rank)
			if ok != (p.Source != "") {
				t.Fatalf("%q gives %+v (%t)", line, p, ok)
			}
			all.Merge(p)
			for _, v := range []float64{p.Step, p.Total, p.Epoch, p.Epochs, p.Percent, p.Rate, all.Percent} {
				if !finite(v) || v < 0 && v != Unknown {
					t.Fatalf("%q gives the counter %g", line, v)
				}
			}
			if p.Remaining < 0 || p.Percent > 100 || len(p.Names) != len(p.Metrics) || len(p.NotFinite) > maxMetrics {
				t.Fatalf("%q gives %+v", line, p)
			}
		}
	})
}
