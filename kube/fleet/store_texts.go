package fleet

// texts are those that many objects have alike. Objects from the wire have each a copy of their own.
type texts map[string]string

// mostTexts bounds them: what is kept no more makes room.
const mostTexts = 1 << 16

func (t texts) one(s string) string {
	if len(s) == 0 {
		return ""
	}
	if had, ok := t[s]; ok {
		return had
	}
	if len(t) >= mostTexts {
		clear(t)
	}
	t[s] = s
	return s
}

// share makes a fact that was just decoded use the texts of others. Names of pods and their UIDs are their own.
func (t texts) share(fact any) any {
	switch f := fact.(type) {
	case *Pod:
		t.pod(f)
	case elsewhere:
		t.pod(f.Pod)
		f.Labels = nil // nothing is said of these but what they use of their node
	}
	return fact
}

func (t texts) pod(p *Pod) {
	for _, s := range []*string{
		&p.Namespace, &p.Node, &p.Phase, &p.State, &p.Reason, &p.Container, &p.ImageID, &p.Accelerator, &p.Role, &p.Product, &p.Queue, &p.Priority, &p.Account, &p.Main, &p.by,
		&p.Owner.APIVersion, &p.Owner.Kind, &p.Owner.Namespace, &p.Owner.Name, &p.Owner.UID,
	} {
		*s = t.one(*s)
	}
	labels := make(map[string]string, len(p.Labels))
	for k, v := range p.Labels {
		labels[t.one(k)] = t.one(v)
	}
	if p.Labels != nil {
		p.Labels = labels
	}
}
