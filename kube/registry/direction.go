package registry

import "strings"

// known are the words in names of metrics that tell which values are better.
func known() map[string]Direction {
	return map[string]Direction{
		"loss": Lower, "error": Lower, "err": Lower, "rmse": Lower, "mse": Lower, "mae": Lower, "mape": Lower, "smape": Lower, "rmsle": Lower,
		"msle": Lower, "logloss": Lower, "perplexity": Lower, "ppl": Lower, "wer": Lower, "cer": Lower, "ter": Lower, "fid": Lower, "eer": Lower,
		"latency": Lower, "brier": Lower, "nll": Lower, "hamming": Lower, "bpc": Lower, "bpb": Lower, "ece": Lower, "fpr": Lower, "fnr": Lower,
		"psi": Lower, "crossentropy": Lower, "pinball": Lower, "deviance": Lower,
		"accuracy": Higher, "acc": Higher, "auc": Higher, "auroc": Higher, "auprc": Higher, "roc": Higher, "r2": Higher, "f1": Higher, "f2": Higher,
		"fbeta": Higher, "precision": Higher, "recall": Higher, "sensitivity": Higher, "specificity": Higher, "map": Higher, "map50": Higher,
		"map95": Higher, "ndcg": Higher, "mrr": Higher, "iou": Higher, "miou": Higher, "dice": Higher, "bleu": Higher, "rouge": Higher, "rouge1": Higher,
		"rouge2": Higher, "rougel": Higher, "meteor": Higher, "chrf": Higher, "psnr": Higher, "ssim": Higher, "mcc": Higher, "kappa": Higher,
		"gini": Higher, "likelihood": Higher, "score": Higher, "throughput": Higher, "reward": Higher, "hit": Higher, "tpr": Higher, "tnr": Higher, "em": Higher,
	}
}

// DirectionOf says whether more or less of a metric is better: as declared, else by the words of its name (val_loss,
// test/rmse, roc-auc@5). It is false for a metric of which nothing is known. A name that says both, such as
// accuracy_loss, goes by its last word.
func DirectionOf(metric string, declared map[string]Direction) (Direction, bool) {
	if d, ok := declared[metric]; ok && (d == Higher || d == Lower) {
		return d, true
	}
	words := strings.FieldsFunc(strings.ToLower(metric), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	table := known()
	for i := len(words) - 1; i >= 0; i-- {
		if d, ok := table[words[i]]; ok {
			return d, true
		}
	}
	return "", false
}
