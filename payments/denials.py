"""Every way in which the gate refuses or postpones a request, and what each means for the buyer's money."""

from .offers import Offer


class PaymentRequired(Exception):
    """402: the offer is not paid for, and this request did not charge the buyer.

    `word` is empty when the request presented no payment. `charged` is None when the proof has already been used for
    something else. `approve_at` is the page where the owner of the balance can approve the purchase.
    """

    approve_at = ""

    def __init__(self, offer: Offer, word: str = "", sentence: str = "", charged: bool | None = False) -> None:
        super().__init__(word)
        self.offer = offer
        self.word = word
        self.sentence = sentence
        self.charged = charged


class PaymentMalformed(Exception):
    """400: the payment could not be parsed. The buyer was not charged."""

    def __init__(self, word: str, sentence: str) -> None:
        super().__init__(word)
        self.word = word
        self.sentence = sentence


class PaymentInFlight(Exception):
    """503: the outcome is not known yet. A retry with the same proof completes this payment and never charges twice."""

    word = "settlement_pending"
    sentence = "Your payment is being settled. Send the same request again. You will not be charged twice."


class CannotSay(PaymentInFlight):
    """503: a check needs a fact that cannot be read now. Nothing was claimed and the buyer was not charged."""

    word = "temporarily_unavailable"
    sentence = "We could not check the payment. Send the same request again."


class AlreadyPaid(Exception):
    """409: the proof was used before, so it is public and does not show that the buyer sent it.

    `charged`: its money has come to us. None: it was used or canceled, which is all that is known.
    """

    word = "already_paid"
    sentence = "This payment was settled before. Prove that it was yours to read the article."

    def __init__(self, *, charged: bool | None = True) -> None:
        super().__init__()
        self.charged = charged


REFUSALS = (PaymentRequired, PaymentMalformed, PaymentInFlight, AlreadyPaid)
