package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/payment"
	"waybill/subjects"
)

// callTimeout is how long a call may take, in the way that its peer has for it.
const callTimeout = 5 * time.Second

// errRefused is what a call ends with when the service says, in the way of its peer, that the request is wrong.
var errRefused = errors.New("the service refused the request")

// question is what the n-th caller asks: an order process wants an order's card payment authorized.
func question(n int) *subjects.AuthorizeRequest {
	order := id.Order(fmt.Sprintf("01K2M8Q9V3X7Z5R4T6W8Y0%04d", n))
	return &subjects.AuthorizeRequest{
		PaymentID: id.PaymentOf(order), OrderID: order, Amount: subjects.Money{Amount: 63_100, Currency: "EUR"},
		Method: subjects.Card, Token: "tok_ok",
	}
}

// check is what every peer's service does with a request before it answers. Error: invalid_argument.
func check(r *subjects.AuthorizeRequest) error {
	if err := r.Validate(); err != nil {
		return err
	}
	return payable(r.Amount)
}

func payable(m subjects.Money) error {
	if m.Amount == 0 {
		return fault.Invalid("amount", "there is nothing to authorize")
	}
	return nil
}

// authorized is the reply to a request that was checked. Peers with types of their own fill them with the same.
func authorized(r *subjects.AuthorizeRequest) *subjects.PaymentInfo {
	none := subjects.Money{Currency: r.Amount.Currency}
	return &subjects.PaymentInfo{
		PaymentID: r.PaymentID, OrderID: r.OrderID, Method: r.Method, Status: payment.StatusAuthorized,
		Amount: r.Amount, Authorized: r.Amount, Captured: none, Refunded: none,
	}
}

// answers says whether what a reply holds is the answer to the request.
func answers(r *subjects.AuthorizeRequest, paymentID, status string, amount int64) error {
	if paymentID != string(r.PaymentID) || status != string(payment.StatusAuthorized) || amount != r.Amount.Amount {
		return fmt.Errorf("payment %s is %s with %d, and %s was to be authorized with %d", paymentID, status, amount, r.PaymentID, r.Amount.Amount)
	}
	return nil
}

// answerJSON is the service of the peers that hand over bytes: JSON in and out, by the codec that Waybill uses.
func answerJSON(request []byte) ([]byte, error) {
	var r subjects.AuthorizeRequest
	if err := json.Unmarshal(request, &r); err != nil {
		return nil, err
	}
	if err := check(&r); err != nil {
		return nil, err
	}
	return json.Marshal(authorized(&r))
}

// readJSON reads the reply to r of the peers that hand over bytes.
func readJSON(r *subjects.AuthorizeRequest, reply []byte) error {
	var p subjects.PaymentInfo
	if err := json.Unmarshal(reply, &p); err != nil {
		return err
	}
	return answers(r, string(p.PaymentID), string(p.Status), p.Authorized.Amount)
}
