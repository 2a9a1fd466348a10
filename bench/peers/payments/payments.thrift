// What an order process asks the payment service for, as Thrift has it: the fields of subjects.AuthorizeRequest and
// subjects.PaymentInfo.
namespace go paymentsthrift

struct Money {
  1: i64 amount // in the currency's minor unit
  2: string currency
}

struct AuthorizeRequest {
  1: string payment_id
  2: string order_id
  3: Money amount
  4: string method
  5: string token
}

struct PaymentInfo {
  1: string payment_id
  2: string order_id
  3: string method
  4: string status
  5: Money amount
  6: Money authorized
  7: Money captured
  8: Money refunded
  9: string decline_code
  10: string action
}

exception Refused {
  1: string code
  2: string message
}

service Payments {
  PaymentInfo authorize(1: AuthorizeRequest request) throws (1: Refused refused)
}
