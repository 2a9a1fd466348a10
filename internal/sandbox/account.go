package sandbox

import (
	"maps"

	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/paygate"
)

// account is all that the gateway knows of one payment. Each entry in the books carries the account as it is after it.
type account struct {
	Amount         money.Money                `json:"amount,omitzero"` // that was asked for first
	Authorized     money.Money                `json:"authorized,omitzero"`
	Captured       money.Money                `json:"captured,omitzero"`
	Refunded       money.Money                `json:"refunded,omitzero"`
	Voided         bool                       `json:"voided,omitzero"`
	DeclineCode    string                     `json:"decline_code,omitzero"`
	ActionRequired bool                       `json:"action_required,omitzero"`
	Captures       map[id.Capture]money.Money `json:"captures,omitempty"`
	Refunds        map[id.Refund]money.Money  `json:"refunds,omitempty"`
}

// known reports whether the gateway was ever asked for the payment with effect: what it refused left nothing behind.
func (a account) known() bool { return !a.Amount.IsZero() || a.Voided }

// open is what is authorized and not captured.
func (a account) open() money.Money {
	return money.Money{Amount: a.Authorized.Amount - a.Captured.Amount, Currency: a.Authorized.Currency}
}

// answer is what an operation comes to.
type answer struct {
	outcome paygate.Outcome
	code    string
}

var approved = answer{outcome: paygate.OutcomeApproved}

func refused(code string) answer { return answer{paygate.OutcomeRefused, code} }

// operation is what a caller asks for. decide is pure: it returns the account after it, and changed false where that has happened
// before and the answer is the stored one.
type operation struct {
	name   Operation
	id     string
	amount money.Money
	decide func(a account) (after account, is answer, changed bool)
}

func authorize(r paygate.AuthorizeRequest) operation {
	op := operation{name: OpAuthorize, id: string(r.PaymentID), amount: r.Amount}
	op.decide = func(a account) (account, answer, bool) {
		fresh := a.Amount.IsZero()
		switch {
		case a.Voided:
			return a, refused(CodeVoided), true
		case !r.Amount.Valid() || r.Amount.Amount <= 0:
			return a, refused(CodeInvalidAmount), true
		case !fresh && a.Amount != r.Amount:
			return a, refused(CodeIDReused), true
		case a.DeclineCode != "":
			return a, answer{paygate.OutcomeDeclined, a.DeclineCode}, false
		case !a.Authorized.IsZero():
			return a, approved, false
		}
		a.Amount = r.Amount
		switch r.Token {
		case TokenOK, TokenSlow, TokenTimeout:
			a.Authorized, a.ActionRequired = r.Amount, false
			return a, approved, true
		case TokenActionRequired:
			if a.ActionRequired && r.Resumed {
				a.Authorized, a.ActionRequired = r.Amount, false
				return a, approved, true
			}
			asked := a.ActionRequired
			a.ActionRequired = true
			return a, answer{outcome: paygate.OutcomeActionRequired}, !asked
		case TokenDeclined:
			a.DeclineCode = CodeDeclined
		case TokenInsufficientFunds:
			a.DeclineCode = CodeInsufficientFunds
		default:
			a.DeclineCode = CodeUnknownToken
		}
		a.ActionRequired = false
		return a, answer{paygate.OutcomeDeclined, a.DeclineCode}, true
	}
	return op
}

func capture(p id.Payment, c id.Capture, amount money.Money) operation {
	op := operation{name: OpCapture, id: string(c), amount: amount}
	op.decide = func(a account) (account, answer, bool) {
		if before, ok := a.Captures[c]; ok {
			return repeated(a, before, amount)
		}
		total, code := add(a.Captured, amount, a.Authorized, CodeOverAuthorized)
		switch {
		case a.Voided:
			return a, refused(CodeVoided), true
		case a.Authorized.IsZero():
			return a, refused(CodeNotAuthorized), true
		case code != "":
			return a, refused(code), true
		}
		a.Captured, a.Captures = total, with(a.Captures, c, amount)
		return a, approved, true
	}
	return op
}

func void(p id.Payment) operation {
	op := operation{name: OpVoid, id: string(p)}
	op.decide = func(a account) (account, answer, bool) {
		switch {
		case a.Voided:
			return a, approved, false
		case !a.Captured.IsZero() && a.Captured == a.Authorized:
			return a, refused(CodeCaptured), true
		}
		a.Voided, a.ActionRequired = true, false
		return a, approved, true
	}
	return op
}

func refund(p id.Payment, r id.Refund, amount money.Money) operation {
	op := operation{name: OpRefund, id: string(r), amount: amount}
	op.decide = func(a account) (account, answer, bool) {
		if before, ok := a.Refunds[r]; ok {
			return repeated(a, before, amount)
		}
		total, code := add(a.Refunded, amount, a.Captured, CodeOverCaptured)
		if code != "" {
			return a, refused(code), true
		}
		a.Refunded, a.Refunds = total, with(a.Refunds, r, amount)
		return a, approved, true
	}
	return op
}

// repeated answers an id that was used before.
func repeated(a account, before, amount money.Money) (account, answer, bool) {
	if before != amount {
		return a, refused(CodeIDReused), true
	}
	return a, approved, false
}

// add returns sum+amount, or the code for an amount that can't be added within the limit.
func add(sum, amount, limit money.Money, over string) (total money.Money, code string) {
	if !amount.Valid() || amount.Amount <= 0 || !limit.IsZero() && amount.Currency != limit.Currency {
		return money.Money{}, CodeInvalidAmount
	}
	total, err := sum.Add(amount)
	if err != nil || limit.Less(total) {
		return money.Money{}, over
	}
	return total, ""
}

// with copies m: an account is a value, and an answer that was not written must leave no trace.
func with[K comparable](m map[K]money.Money, k K, v money.Money) map[K]money.Money {
	c := maps.Clone(m)
	if c == nil {
		c = make(map[K]money.Money, 1)
	}
	c[k] = v
	return c
}
