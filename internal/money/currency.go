package money

import "strings"

// The active ISO 4217 currencies by the number of decimals of their minor unit. Codes without a minor unit of their own
// (gold, test and special drawing codes) and those with four decimals, which are units of account, are not money here.
const (
	zeroDecimals  = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
	threeDecimals = "BHD IQD JOD KWD LYD OMR TND"
	twoDecimals   = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP " +
		"CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD " +
		"KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN " +
		"QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED " +
		"VES WST XCD XCG YER ZAR ZMW ZWG"
)

var decimals = func() map[Currency]int {
	m := make(map[Currency]int)
	for d, codes := range map[int]string{0: zeroDecimals, 2: twoDecimals, 3: threeDecimals} {
		for _, c := range strings.Fields(codes) {
			m[Currency(c)] = d
		}
	}
	return m
}()

// Known reports whether c is an active ISO 4217 currency with a minor unit of 0, 2 or 3 decimals.
func (c Currency) Known() bool {
	_, ok := decimals[c]
	return ok
}

// Decimals is the number of decimals of the minor unit: 2 for EUR, 0 for JPY, 3 for KWD; 0 for an unknown currency.
func (c Currency) Decimals() int { return decimals[c] }
