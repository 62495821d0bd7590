/* The test card simulator's own script for shops: the few calls of the processor's browser library that Pennypress uses.
 * No style or script is written into the page's markup, so a strict content policy needs only this origin. */
(function () {
  "use strict";

  var base = document.currentScript.src.replace(/\/[^/]*$/, "");

  function encode(value, name, parts) {
    if (value === undefined || value === null) return parts;
    if (typeof value === "object") {
      Object.keys(value).forEach(function (key) {
        encode(value[key], name ? name + "[" + key + "]" : key, parts);
      });
    } else {
      parts.push(encodeURIComponent(name) + "=" + encodeURIComponent(value));
    }
    return parts;
  }

  function call(method, path, params) {
    var body = encode(params, "", []).join("&");
    return new Promise(function (resolve) {
      var request = new XMLHttpRequest();
      request.open(method, base + path + (method === "GET" ? "?" + body : ""));
      if (method !== "GET") request.setRequestHeader("Content-Type", "application/x-www-form-urlencoded");
      request.onload = function () {
        var found;
        try {
          found = JSON.parse(request.responseText);
        } catch (problem) {
          found = { error: { type: "api_error", message: "The answer could not be read." } };
        }
        resolve(found);
      };
      request.onerror = function () {
        resolve({ error: { type: "api_connection_error", message: "The payment page cannot be reached." } });
      };
      request.send(method === "GET" ? null : body);
    });
  }

  function idOf(secret) {
    return String(secret).split("_secret_")[0];
  }

  function dress(node, styles) {
    Object.keys(styles).forEach(function (name) {
      node.style[name] = styles[name];
    });
    return node;
  }

  function field(label, autocomplete) {
    var input = document.createElement("input");
    input.setAttribute("aria-label", label);
    input.placeholder = label;
    input.autocomplete = autocomplete;
    input.inputMode = "numeric";
    return dress(input, { font: "inherit", padding: "0.5rem", margin: "0 0.25rem 0.25rem 0", maxWidth: "100%" });
  }

  /* The card field: three inputs in the page itself. */
  function CardElement() {
    var self = this;
    this.number = field("Card number", "cc-number");
    this.expiry = field("MM / YY", "cc-exp");
    this.cvc = field("CVC", "cc-csc");
    this.handlers = {};
    this.node = document.createElement("div");
    [this.number, this.expiry, this.cvc].forEach(function (input) {
      self.node.appendChild(input);
      input.addEventListener("input", function () {
        self.emit("change");
      });
    });
    dress(this.expiry, { width: "6rem" });
    dress(this.cvc, { width: "5rem" });
  }

  CardElement.prototype.emit = function (name) {
    var full = this.number.value.replace(/\D/g, "").length > 13 && this.expiry.value && this.cvc.value.length > 2;
    var told = { elementType: "card", complete: Boolean(full), empty: !this.number.value, error: undefined, brand: "unknown" };
    (this.handlers[name] || []).forEach(function (handler) {
      handler(told);
    });
  };
  CardElement.prototype.on = function (name, handler) {
    (this.handlers[name] = this.handlers[name] || []).push(handler);
    return this;
  };
  CardElement.prototype.mount = function (where) {
    var place = typeof where === "string" ? document.querySelector(where) : where;
    var self = this;
    place.textContent = "";
    place.appendChild(this.node);
    setTimeout(function () {
      self.emit("ready");
    }, 0);
  };
  CardElement.prototype.unmount = CardElement.prototype.destroy = function () {
    if (this.node.parentNode) this.node.parentNode.removeChild(this.node);
  };
  CardElement.prototype.clear = function () {
    this.number.value = this.expiry.value = this.cvc.value = "";
    this.emit("change");
  };
  CardElement.prototype.focus = function () {
    this.number.focus();
  };
  CardElement.prototype.update = function () {};
  CardElement.prototype.typed = function () {
    var expiry = this.expiry.value.match(/^\s*(\d{1,2})\s*\/?\s*(\d{4}|\d{2})\s*$/) || [];
    return { number: this.number.value, exp_month: expiry[1], exp_year: expiry[2], cvc: this.cvc.value };
  };

  /* What the shop gave as the way to pay, as parameters. */
  function chosen(data) {
    var method = data && data.payment_method;
    var params = {};
    if (typeof method === "string") params.payment_method = method;
    if (method && typeof method === "object") {
      params.payment_method_data = { type: "card", card: method.card.typed(), billing_details: method.billing_details };
    }
    ["receipt_email", "setup_future_usage", "return_url"].forEach(function (name) {
      if (data && data[name]) params[name] = data[name];
    });
    return params;
  }

  function frameOf(intent) {
    var next = intent.next_action;
    if (!next) return null;
    var address = next.type === "redirect_to_url" ? next.redirect_to_url.url : next.use_stripe_sdk.stripe_js;
    return address + "&frame=1";
  }

  /* The bank's question over the page, until the intent says that it was answered. */
  function ask(intent, read) {
    var cover = document.createElement("div");
    var frame = document.createElement("iframe");
    var before = document.activeElement;
    cover.setAttribute("role", "dialog");
    cover.setAttribute("aria-modal", "true");
    cover.setAttribute("aria-label", "Your bank asks");
    dress(cover, {
      position: "fixed", top: "0", right: "0", bottom: "0", left: "0", zIndex: "2147483647", display: "flex",
      alignItems: "center", justifyContent: "center", background: "rgba(0, 0, 0, 0.6)",
    });
    frame.title = "Your bank asks";
    frame.name = "simulated-bank";
    dress(frame, {
      width: "min(32rem, 96vw)", height: "min(26rem, 92vh)", border: "0", borderRadius: "0.5rem", background: "Canvas",
    });
    frame.src = frameOf(intent);
    cover.appendChild(frame);
    document.body.appendChild(cover);
    frame.focus();
    return new Promise(function (resolve) {
      function look() {
        read().then(function (found) {
          if (!found.error && found.status === "requires_action") {
            setTimeout(look, 200);
            return;
          }
          document.body.removeChild(cover);
          if (before && before.focus) before.focus();
          resolve(found);
        });
      }
      setTimeout(look, 200);
    });
  }

  function Simulator(key) {
    this.key = key;
  }

  Simulator.prototype._read = function (kind, secret) {
    return call("GET", "/v1/" + kind + "s/" + idOf(secret), { key: this.key, client_secret: secret });
  };

  /* {paymentIntent} or {error}, as the shop expects it. */
  Simulator.prototype._end = function (kind, found) {
    var name = kind === "payment_intent" ? "paymentIntent" : "setupIntent";
    var last = kind === "payment_intent" ? found.last_payment_error : found.last_setup_error;
    var result = {};
    if (found.error) return { error: found.error };
    if (found.status === "requires_payment_method" && last) {
      last[kind] = found;
      return { error: last };
    }
    result[name] = found;
    return result;
  };

  Simulator.prototype._next = function (kind, secret, found) {
    var self = this;
    if (found.error || found.status !== "requires_action") return Promise.resolve(this._end(kind, found));
    return ask(found, function () {
      return self._read(kind, secret);
    }).then(function (after) {
      return self._end(kind, after);
    });
  };

  Simulator.prototype._confirm = function (kind, secret, data, options) {
    var self = this;
    var params = chosen(data);
    var given = params.payment_method || params.payment_method_data;
    return this._read(kind, secret).then(function (found) {
      if (found.error) return { error: found.error };
      if (!given && found.status === "requires_action") return self._next(kind, secret, found);
      params.key = self.key;
      params.client_secret = secret;
      params.use_stripe_sdk = "true";
      return call("POST", "/v1/" + kind + "s/" + idOf(secret) + "/confirm", params).then(function (tried) {
        if (options && options.handleActions === false) return self._end(kind, tried);
        return self._next(kind, secret, tried);
      });
    });
  };

  Simulator.prototype.confirmCardPayment = function (secret, data, options) {
    return this._confirm("payment_intent", secret, data, options);
  };
  Simulator.prototype.confirmCardSetup = function (secret, data, options) {
    return this._confirm("setup_intent", secret, data, options);
  };
  Simulator.prototype.handleNextAction = function (given) {
    var secret = given.clientSecret;
    var kind = secret.indexOf("seti_") === 0 ? "setup_intent" : "payment_intent";
    var self = this;
    return this._read(kind, secret).then(function (found) {
      return self._next(kind, secret, found);
    });
  };
  Simulator.prototype.handleCardAction = function (secret) {
    return this.handleNextAction({ clientSecret: secret });
  };
  Simulator.prototype.retrievePaymentIntent = function (secret) {
    return this._read("payment_intent", secret).then(function (found) {
      return found.error ? { error: found.error } : { paymentIntent: found };
    });
  };
  Simulator.prototype.retrieveSetupIntent = function (secret) {
    return this._read("setup_intent", secret).then(function (found) {
      return found.error ? { error: found.error } : { setupIntent: found };
    });
  };
  Simulator.prototype.createPaymentMethod = function (given) {
    var params = { key: this.key, type: "card", card: given.card.typed(), billing_details: given.billing_details };
    return call("POST", "/v1/payment_methods", params).then(function (found) {
      return found.error ? { error: found.error } : { paymentMethod: found };
    });
  };
  Simulator.prototype.elements = function () {
    var made = {};
    return {
      create: function (kind) {
        if (kind !== "card") throw new Error("The test card simulator has the card element only.");
        made[kind] = new CardElement();
        return made[kind];
      },
      getElement: function (kind) {
        return made[kind] || null;
      },
    };
  };
  Simulator.prototype.registerAppInfo = function () {};

  window.Stripe = function (key) {
    if (!/^pk_test_/.test(key)) throw new Error("The test card simulator takes publishable test keys only.");
    return new Simulator(key);
  };
})();
